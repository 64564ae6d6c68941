/**
 * Sorts row numbers by unsigned 32-bit keys, and keeps the order of rows whose keys are equal; so rows are sorted by several
 * keys by sorting by the last of them first. Least significant digit first: no comparisons, and as many passes as the
 * largest key has digits.
 *
 * @param order the row numbers to sort, in place
 * @param keys the key of each row, by row number
 * @param count how many row numbers of `order` to sort; all of them if left out
 */
export function sortByKey(order: Int32Array, keys: Uint32Array, count: number = order.length): void {
  let largest = 0;
  let last = 0;
  let isSorted = true;
  for (let i = 0; i < count; i++) {
    const key = keys[order[i]];
    if (key < last) isSorted = false;
    if (key > largest) largest = key;
    last = key;
  }
  if (isSorted) return;
  if (count <= fewRows) {
    insertInOrder(order, keys, count);
    return;
  }
  if (spare.length < count) spare = new Int32Array(2 * count);
  const other = spare;
  // Short digits need more passes, but less room to be cleared and summed up in each.
  const digitBits = count < manyRows ? 8 : 11;
  let isInOther = false;
  for (let shift = 0; shift < 32 && largest >>> shift > 0; shift += digitBits) {
    if (isInOther) distribute(other, order, keys, count, shift, (1 << digitBits) - 1);
    else distribute(order, other, keys, count, shift, (1 << digitBits) - 1);
    isInOther = !isInOther;
  }
  if (isInOther) for (let i = 0; i < count; i++) order[i] = other[i];
}

/** The row numbers 0 up to, not including, `count`, in this order. */
export function rowNumbers(count: number): Int32Array {
  const rows = new Int32Array(count);
  for (let row = 0; row < count; row++) rows[row] = row;
  return rows;
}

/** Up to this many rows, inserting one after the other is faster than counting digits. */
const fewRows = 48;

/** From this many rows on, long digits are worth it. */
const manyRows = 2048;

// Room that sorting needs besides the rows themselves, kept from call to call.
const begin = new Int32Array(2048);
let spare = new Int32Array(4096);

function insertInOrder(order: Int32Array, keys: Uint32Array, count: number): void {
  for (let i = 1; i < count; i++) {
    const row = order[i];
    const key = keys[row];
    let place = i;
    for (; place > 0 && keys[order[place - 1]] > key; place--) order[place] = order[place - 1];
    order[place] = row;
  }
}

/** Distributes row numbers by the digit of their keys that starts at bit `shift` and has the bits of `mask`. */
function distribute(
  from: Int32Array,
  to: Int32Array,
  keys: Uint32Array,
  count: number,
  shift: number,
  mask: number,
): void {
  begin.fill(0, 0, mask + 1);
  for (let i = 0; i < count; i++) begin[(keys[from[i]] >>> shift) & mask]++;
  let rows = 0;
  for (let digit = 0; digit <= mask; digit++) {
    const here = begin[digit];
    begin[digit] = rows;
    rows += here;
  }
  for (let i = 0; i < count; i++) {
    const row = from[i];
    to[begin[(keys[row] >>> shift) & mask]++] = row;
  }
}
