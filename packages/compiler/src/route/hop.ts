import { doubled } from "../piece.ts";

/** Pieces of keys and values on their way from one unit to another, as columns. */
export interface Hops {
  readonly length: number;
  readonly from: Int32Array;
  readonly to: Int32Array;
  readonly document: Int32Array;
  readonly begin: Int32Array;
  readonly end: Int32Array;
}

/** Pieces that cross to another node. */
export interface Crossings extends Hops {
  /** Who owns a piece; `from` may be another unit of the owner's node that has it by then. */
  readonly owner: Int32Array;
  /** The hop that brought the piece to a `from` that is not its owner, otherwise -1. */
  readonly relay: Int32Array;
  /** The atom that a piece is of: its rows `wantedBegin[atom]` to `wantedBegin[atom + 1]` of `wantedBy` name the units that need it. */
  readonly atom: Int32Array;
  readonly wantedBegin: Int32Array;
  readonly wantedBy: Int32Array;
}

/** The other units of the receiver's node that need what crosses in row `row`. */
export function handedOnTo({ to, atom, wantedBegin, wantedBy }: Crossings, row: number): number[] {
  const wanted = wantedBy.subarray(wantedBegin[atom[row]], wantedBegin[atom[row] + 1]);
  return [...wanted].filter((unit) => unit !== to[row]);
}

/** Hops that are still being collected. */
export class HopList implements Hops {
  length = 0;
  from = new Int32Array(256);
  to = new Int32Array(256);
  document = new Int32Array(256);
  begin = new Int32Array(256);
  end = new Int32Array(256);

  push(from: number, to: number, document: number, begin: number, end: number): void {
    if (this.length === this.from.length) this.#grow();
    const row = this.length++;
    this.from[row] = from;
    this.to[row] = to;
    this.document[row] = document;
    this.begin[row] = begin;
    this.end[row] = end;
  }

  #grow(): void {
    this.from = doubled(this.from);
    this.to = doubled(this.to);
    this.document = doubled(this.document);
    this.begin = doubled(this.begin);
    this.end = doubled(this.end);
  }
}
