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
  for (let i = 0; i < pieces.length; ) {
    const { document, begin } = pieces[i];
    let { end } = pieces[i];
    for (i++; i < pieces.length && pieces[i].begin === end && pieces[i].document === document; i++) end = pieces[i].end;
    runs.push({ document, begin, end });
  }
  return runs;
}
