import { InputError } from "./input-error.ts";
import { documentsOf, lengthsOf, type PackedBatch, tokensOf } from "./packed-batch.ts";

export interface BatchStatistics {
  readonly documents: number;
  readonly tokens: number;
  /** Unmasked (query, key) pairs of causal attention inside documents: the sum of n (n + 1) / 2. */
  readonly causalArea: number;
  /** (query, key) pairs of full attention inside documents: the sum of n^2. */
  readonly fullArea: number;
  /** Tokens per document, nearest rank. */
  readonly percentiles: {
    readonly p0: number;
    readonly p50: number;
    readonly p90: number;
    readonly p99: number;
    readonly p100: number;
  };
  /** The share, 0 to 1, of the causal area and of the tokens in the longest 1 % and 10 % of documents (rounded up). */
  readonly longest: { readonly percent1: LongestShare; readonly percent10: LongestShare };
}

export interface LongestShare {
  readonly documents: number;
  readonly tokens: number;
  readonly causalArea: number;
}

/**
 * Counts what decides a batch's cost. All counts are exact.
 *
 * @throws InputError if an area exceeds 2^53 - 1 and could not be exact.
 */
export function batchStatistics(batch: PackedBatch): BatchStatistics {
  const sorted = lengthsOf(batch).sort();
  return {
    documents: documentsOf(batch),
    tokens: tokensOf(batch),
    causalArea: causalArea(batch),
    fullArea: fullArea(batch),
    percentiles: {
      p0: sorted[0],
      p50: percentile(sorted, 50),
      p90: percentile(sorted, 90),
      p99: percentile(sorted, 99),
      p100: sorted[sorted.length - 1],
    },
    longest: { percent1: longestShare(sorted, 1), percent10: longestShare(sorted, 10) },
  };
}

/**
 * Unmasked (query, key) pairs of causal attention inside documents: the sum of n (n + 1) / 2.
 *
 * @throws InputError if the sum exceeds 2^53 - 1.
 */
export function causalArea(batch: PackedBatch): number {
  return exactSum(lengthsOf(batch), causalPairs);
}

/**
 * (Query, key) pairs of full attention inside documents: the sum of n^2.
 *
 * @throws InputError if the sum exceeds 2^53 - 1.
 */
export function fullArea(batch: PackedBatch): number {
  return exactSum(lengthsOf(batch), (length) => length * length);
}

/**
 * The value at the nearest rank: the smallest that at least `percent` % of the values do not exceed.
 *
 * @param sorted ascending, at least one value
 * @throws RangeError if `percent` is not above 0 and at most 100.
 */
export function percentile(sorted: ArrayLike<number>, percent: number): number {
  if (!(percent > 0 && percent <= 100)) throw new RangeError(`invalid percent: ${percent} (above 0, at most 100)`);
  return sorted[Math.ceil((percent * sorted.length) / 100) - 1];
}

function longestShare(sorted: Int32Array, percent: number): LongestShare {
  const documents = Math.ceil((percent * sorted.length) / 100);
  const longest = sorted.subarray(sorted.length - documents);
  const tokens = (lengths: Int32Array) => exactSum(lengths, (length) => length);
  return {
    documents,
    tokens: tokens(longest) / tokens(sorted),
    causalArea: exactSum(longest, causalPairs) / exactSum(sorted, causalPairs),
  };
}

function causalPairs(length: number): number {
  // One factor is even, so halving it first keeps every intermediate below the product.
  return length % 2 === 0 ? (length / 2) * (length + 1) : length * ((length + 1) / 2);
}

function exactSum(lengths: Int32Array, term: (length: number) => number): number {
  let sum = 0;
  for (const length of lengths) sum += term(length);
  // Each addition below 2^53 is exact, and a sum that once passed it does not come back.
  if (sum > Number.MAX_SAFE_INTEGER) {
    throw new InputError(`invalid batch: area ${sum} exceeds ${Number.MAX_SAFE_INTEGER} (use shorter documents)`);
  }
  return sum;
}
