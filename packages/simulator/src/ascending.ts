// Tokens are below 2^31, so a position below 2^22 can share an exact double with one and be sorted natively.
const positionsPerKey = 2 ** 22;

/**
 * Positions in the order of `first`, and where that is equal of `second` (both non-negative and below 2^31); undefined where they
 * stand in that order already. Equal pairs keep their order.
 */
export function ascending(first: ArrayLike<number>, second: ArrayLike<number>): ArrayLike<number> | undefined {
  const count = first.length;
  let isSorted = true;
  for (let i = 1; i < count && isSorted; i++)
    isSorted = first[i - 1] < first[i] || (first[i - 1] === first[i] && second[i - 1] <= second[i]);
  if (isSorted) return undefined;
  if (count >= positionsPerKey) {
    const positions = Array.from({ length: count }, (_, i) => i);
    return positions.sort((a, b) => first[a] - first[b] || second[a] - second[b] || a - b);
  }
  const keys = new Float64Array(count);
  for (let i = 0; i < count; i++) keys[i] = first[i] * positionsPerKey + i;
  keys.sort();
  const order = new Int32Array(count);
  for (let i = 0; i < count; i++) order[i] = keys[i] % positionsPerKey;
  for (let begin = 0; begin < count; ) {
    let end = begin + 1;
    while (end < count && first[order[end]] === first[order[begin]]) end++;
    if (end > begin + 1) order.subarray(begin, end).sort((a, b) => second[a] - second[b] || a - b);
    begin = end;
  }
  return order;
}
