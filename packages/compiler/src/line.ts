import type { Piece } from "./piece.ts";
import type { RowArea } from "./row-area.ts";

/**
 * Pieces laid end to end in the order of mean area per token: from the shortest documents to the longest. A position on
 * the line is a number of tokens, and any stretch of it is a choice of tokens that cuts at most two pieces.
 */
export interface Line {
  readonly pieces: readonly Piece[];
  readonly totalTokens: number;
  readonly totalArea: number;
  tokensOf(i: number): number;
  areaOf(i: number): number;
  /** Mean area per token of piece `i`. */
  meanOf(i: number): number;
  /** Area of the last row of piece `i`. */
  maxOf(i: number): number;
  /** Tokens of the pieces before piece `i`: its position. */
  tokensBefore(i: number): number;
  /** Area of everything before a position. */
  areaBefore(position: number): number;
  /** Area of the last `tokens` rows of piece `i`. */
  areaOfBack(i: number, tokens: number): number;
  /** The piece at a position; the number of pieces at the line's end. */
  indexAt(position: number): number;
  /** The borders of pieces around a position, the nearer one first. */
  bordersAround(position: number): number[];
}

export function lineOf(rowArea: RowArea, unordered: readonly Piece[]): Line {
  const entries = unordered.map((piece) => {
    const area = rowArea(piece.document, piece.begin, piece.end);
    return { piece, area, mean: area / (piece.end - piece.begin) };
  });
  entries.sort((a, b) => a.mean - b.mean || a.piece.begin - b.piece.begin);
  const pieces = entries.map(({ piece }) => piece);
  const count = pieces.length;
  const tokens = new Float64Array(count + 1);
  const area = new Float64Array(count + 1);
  for (let i = 0; i < count; i++) {
    tokens[i + 1] = tokens[i] + pieces[i].end - pieces[i].begin;
    area[i + 1] = area[i] + entries[i].area;
  }
  const indexAt = (position: number): number => {
    let low = 0;
    let high = count;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (tokens[middle + 1] <= position) low = middle + 1;
      else high = middle;
    }
    return low;
  };
  return {
    pieces,
    totalTokens: tokens[count],
    totalArea: area[count],
    tokensOf: (i) => tokens[i + 1] - tokens[i],
    areaOf: (i) => entries[i].area,
    meanOf: (i) => entries[i].mean,
    maxOf: (i) => rowArea(pieces[i].document, pieces[i].end - 1, pieces[i].end),
    tokensBefore: (i) => tokens[i],
    areaBefore(position) {
      const i = indexAt(position);
      if (i === count) return area[count];
      const { document, begin } = pieces[i];
      return area[i] + rowArea(document, begin, begin + position - tokens[i]);
    },
    areaOfBack: (i, rows) => rowArea(pieces[i].document, pieces[i].end - rows, pieces[i].end),
    indexAt,
    bordersAround(position) {
      const i = indexAt(position);
      if (i === count || tokens[i] === position) return [position];
      const borders = [tokens[i], tokens[i + 1]];
      return position - borders[0] <= borders[1] - position ? borders : borders.reverse();
    },
  };
}
