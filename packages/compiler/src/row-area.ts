import type { Problem } from "@hsap/schedule";

/** Unmasked (query, key) pairs of the query rows [begin, end) of a document, all in global coordinates; one head. */
export type RowArea = (document: number, begin: number, end: number) => number;

/** The area of query rows under the problem's mask: causal row t of a document has t + 1 pairs, a full one as many as the document is long. */
export function rowAreaOf({ batch: { cuSeqlens }, mask }: Problem): RowArea {
  if (mask === "full") {
    return (document, begin, end) => (end - begin) * (cuSeqlens[document + 1] - cuSeqlens[document]);
  }
  // The sum of an arithmetic series; its product is even, so halving keeps it exact.
  return (document, begin, end) => ((end - begin) * (begin + end + 1 - 2 * cuSeqlens[document])) / 2;
}
