/**
 * The inputs that the engine generates, computed a second time: element (token, head, column) of a tensor is a hash of where it
 * stands and of the seed (see native/include/hsap/inputs.h), so the peer can be given the very same numbers.
 *
 * Returns fp32 values [head][token][column].
 */
export function generatedInput(tensor, { heads, tokens, headDim, seed }) {
  const values = new Float32Array(heads * tokens * headDim);
  let next = 0;
  for (let head = 0; head < heads; head++) {
    for (let token = 0; token < tokens; token++) {
      const key = rowKey(BigInt(seed), inputTensors.indexOf(tensor), token, head);
      for (let column = 0; column < headDim; column++)
        values[next++] = normalLike(mix(wrap(key + golden * BigInt(column + 1))));
    }
  }
  return values;
}

const inputTensors = ["q", "k", "v", "do"];
const golden = 0x9e3779b97f4a7c15n;
const wrap = (value) => BigInt.asUintN(64, value);

function mix(bits) {
  let mixed = wrap((bits ^ (bits >> 30n)) * 0xbf58476d1ce4e5b9n);
  mixed = wrap((mixed ^ (mixed >> 27n)) * 0x94d049bb133111ebn);
  return mixed ^ (mixed >> 31n);
}

function rowKey(seed, tensor, token, head) {
  const place = (BigInt(token) << 32n) | BigInt(head);
  return mix(mix(wrap(seed + golden * BigInt(1 + tensor))) ^ mix(wrap(place + golden)));
}

/** A sum of four uniform 16-bit numbers, shifted to mean 0 and scaled to variance 1, rounded to fp32 at each step. */
function normalLike(bits) {
  const sum = [0n, 16n, 32n, 48n].reduce((total, shift) => total + Number((bits >> shift) & 0xffffn), 0);
  return Math.fround(Math.fround(sum - 131070) * Math.fround(1 / Math.fround(37837.22746)));
}
