import type { Problem } from "@hsap/schedule";

/** Where documents begin and which mask they have: all that the area of rows depends on. */
export interface Mask {
  readonly cuSeqlens: Int32Array;
  readonly isCausal: boolean;
}

export const maskOf = ({ batch: { cuSeqlens }, mask }: Problem): Mask => ({ cuSeqlens, isCausal: mask === "causal" });

/**
 * Unmasked (query, key) pairs of the query rows [begin, end) of a document, all in global coordinates; one head. Causal
 * row t of a document has t + 1 pairs, a full one as many as the document is long.
 */
export function rowArea({ cuSeqlens, isCausal }: Mask, document: number, begin: number, end: number): number {
  if (!isCausal) return (end - begin) * (cuSeqlens[document + 1] - cuSeqlens[document]);
  // The sum of an arithmetic series; its product is even, so halving keeps it exact.
  return ((end - begin) * (begin + end + 1 - 2 * cuSeqlens[document])) / 2;
}
