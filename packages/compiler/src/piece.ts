import type { TokenRange } from "@hsap/schedule";

/** Consecutive tokens of one document, in global coordinates: what sharding hands out and transfers carry. */
export interface Piece extends TokenRange {
  readonly document: number;
}

/** Orders pieces by where they lie in the batch. */
export const byPosition = (a: Piece, b: Piece): number => a.begin - b.begin;

/** Joins pieces that lie next to each other in one document; the argument must be in order of position. */
export function joined(pieces: readonly Piece[]): Piece[] {
  const runs: Piece[] = [];
  for (const piece of pieces) {
    const last = runs.at(-1);
    if (last !== undefined && last.document === piece.document && last.end === piece.begin) {
      runs[runs.length - 1] = { ...last, end: piece.end };
    } else {
      runs.push(piece);
    }
  }
  return runs;
}
