import { InputError } from "./input-error.ts";

/** Returns numbers in [0, 1), each with 53 random bits; the same sequence for the same seed on every machine. */
export type Random = () => number;

/**
 * xoshiro128** 1.1 (Blackman and Vigna, "Scrambled linear pseudorandom number generators", ACM TOMS 47(4), 2021; their
 * public-domain reference code), its state filled from the seed by splitmix32-style mixing with the finaliser of
 * MurmurHash3, so that neighbouring seeds give unrelated sequences.
 *
 * @throws InputError if the seed is not a whole number from 0 to 2^32 - 1.
 */
export function seededRandom(seed: number): Random {
  if (!Number.isInteger(seed) || seed < 0 || seed > 0xffffffff) {
    throw new InputError(`invalid seed: ${seed} (must be a whole number from 0 to ${0xffffffff})`);
  }
  const state = new Uint32Array(4);
  for (let i = 0; i < 4; ++i) state[i] = murmurFinaliser(seed + Math.imul(i + 1, 0x9e3779b9));
  return () => {
    const high = next(state) >>> 5;
    const low = next(state) >>> 6;
    return (high * 2 ** 26 + low) / 2 ** 53;
  };
}

/** A whole number from `low` to `high`, both included. */
export function randomInteger(random: Random, low: number, high: number): number {
  return low + Math.floor(random() * (high - low + 1));
}

/** A standard normal number by the Box-Muller transform; takes two numbers from `random`. */
export function randomNormal(random: Random): number {
  const radius = Math.sqrt(-2 * Math.log(1 - random()));
  return radius * Math.cos(2 * Math.PI * random());
}

/** An index of `weights`, each with probability weight / sum of weights. At least one weight is above 0, none below. */
export function randomIndex(random: Random, weights: readonly number[]): number {
  let left = random() * weights.reduce((sum, weight) => sum + weight, 0);
  for (const [index, weight] of weights.entries()) {
    left -= weight;
    if (left < 0) return index;
  }
  // Rounding may leave a crumb after the last index with a weight; that one takes it.
  return weights.findLastIndex((weight) => weight > 0);
}

/** The values in an order drawn by the Fisher-Yates shuffle; the argument is left as it is. */
export function shuffled(values: ArrayLike<number>, random: Random): number[] {
  const result = Array.from(values);
  for (let last = result.length - 1; last > 0; --last) {
    const other = randomInteger(random, 0, last);
    [result[last], result[other]] = [result[other], result[last]];
  }
  return result;
}

function next(state: Uint32Array): number {
  const result = Math.imul(rotateLeft(Math.imul(state[1], 5), 7), 9) >>> 0;
  const shifted = state[1] << 9;
  state[2] ^= state[0];
  state[3] ^= state[1];
  state[1] ^= state[2];
  state[0] ^= state[3];
  state[2] ^= shifted;
  state[3] = rotateLeft(state[3], 11);
  return result;
}

function rotateLeft(word: number, bits: number): number {
  return (word << bits) | (word >>> (32 - bits));
}

function murmurFinaliser(word: number): number {
  let mixed = word | 0;
  mixed = Math.imul(mixed ^ (mixed >>> 16), 0x85ebca6b);
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35);
  return (mixed ^ (mixed >>> 16)) >>> 0;
}
