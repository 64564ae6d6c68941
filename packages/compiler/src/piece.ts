import type { TokenRange } from "@hsap/schedule";

/** Consecutive tokens of one document, in global coordinates: what sharding hands out and transfers carry. */
export interface Piece extends TokenRange {
  readonly document: number;
}

/**
 * Pieces as columns of equal length. A compiler that runs in every step cannot afford an object for each piece, so the
 * passes hand on columns; objects are the view for tests and messages.
 */
export interface Pieces {
  readonly document: Int32Array;
  readonly begin: Int32Array;
  readonly end: Int32Array;
}

/** Pieces that are still being collected. */
export class PieceList implements Pieces {
  document: Int32Array;
  begin: Int32Array;
  end: Int32Array;
  length = 0;

  constructor(capacity = 256) {
    this.document = new Int32Array(capacity);
    this.begin = new Int32Array(capacity);
    this.end = new Int32Array(capacity);
  }

  push(document: number, begin: number, end: number): void {
    if (this.length === this.document.length) this.#grow();
    const row = this.length++;
    this.document[row] = document;
    this.begin[row] = begin;
    this.end[row] = end;
  }

  /** Adds a piece, or lengthens the last one of those from row `first` on if they are neighbours in one document. */
  pushJoined(first: number, document: number, begin: number, end: number): void {
    const last = this.length - 1;
    if (last >= first && this.end[last] === begin && this.document[last] === document) this.end[last] = end;
    else this.push(document, begin, end);
  }

  /** The pieces collected so far, in columns of that length. */
  finish(): Pieces {
    return {
      document: this.document.subarray(0, this.length),
      begin: this.begin.subarray(0, this.length),
      end: this.end.subarray(0, this.length),
    };
  }

  #grow(): void {
    this.document = doubled(this.document);
    this.begin = doubled(this.begin);
    this.end = doubled(this.end);
  }
}

/** A column of twice the size that begins with the same values. */
export function doubled(column: Int32Array): Int32Array<ArrayBuffer> {
  const larger = new Int32Array(2 * column.length);
  larger.set(column);
  return larger;
}

/** Row `row` as people and tests read it. */
export const pieceAt = ({ document, begin, end }: Pieces, row: number): Piece => ({
  document: document[row],
  begin: begin[row],
  end: end[row],
});
