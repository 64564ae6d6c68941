import type { PieceList, Pieces } from "../piece.ts";
import { type Mask, rowArea } from "./row-area.ts";

/** Up to how many tokens and how much area a piece is small. */
export interface Small {
  readonly tokens: number;
  readonly area: number;
}

/**
 * Pieces laid end to end, from small to large. Small ones come first, mixed so that any stretch has short and long ones
 * in like shares: bins that hold many documents are then alike, not only in their sums. The others are in the order of
 * mean area per token. A position on the line is a number of tokens, and any stretch of it is a choice of tokens that
 * cuts at most two pieces. Taking a stretch changes the line in place.
 */
export class Line {
  length = 0;
  small: Small = { tokens: 0, area: 0 };
  #document = new Int32Array(0);
  #begin = new Int32Array(0);
  #end = new Int32Array(0);
  /** What decides a piece's place: below 0 for small ones, mean area per token for the others. */
  #key = new Float64Array(0);
  /** Tokens and area before each piece, and of the whole line. */
  #tokens = new Int32Array(1);
  #area = new Float64Array(1);
  #near = 0;

  constructor(readonly mask: Mask) {}

  /** Lays out the given rows of pieces, which are in the order of mean area per token; at most `cuts` stretches will be taken. */
  lay({ document, begin, end }: Pieces, rows: Int32Array, small: Small, cuts: number): void {
    this.#reserve(rows.length + 2 * cuts + 2);
    this.small = small;
    this.#near = 0;
    this.length = 0;
    const smallRows: number[] = [];
    if (small.tokens > 0) {
      for (const row of rows) {
        if (this.#isSmall(document[row], begin[row], end[row])) smallRows.push(row);
      }
      this.#layMixed(smallRows, document, begin, end);
    }
    for (const row of rows) {
      if (small.tokens > 0 && this.#isSmall(document[row], begin[row], end[row])) continue;
      const mean = rowArea(this.mask, document[row], begin[row], end[row]) / (end[row] - begin[row]);
      this.#put(this.length++, document[row], begin[row], end[row], mean);
    }
    this.#measure(0);
  }

  get totalTokens(): number {
    return this.#tokens[this.length];
  }

  get totalArea(): number {
    return this.#area[this.length];
  }

  tokensOf(i: number): number {
    return this.#tokens[i + 1] - this.#tokens[i];
  }

  areaOf(i: number): number {
    return this.#area[i + 1] - this.#area[i];
  }

  /** Area of the last row of piece `i`. */
  maxOf(i: number): number {
    return rowArea(this.mask, this.#document[i], this.#end[i] - 1, this.#end[i]);
  }

  /** Tokens of the pieces before piece `i`: its position. */
  tokensBefore(i: number): number {
    return this.#tokens[i];
  }

  /** Area of the pieces before piece `i`. */
  areaBeforePiece(i: number): number {
    return this.#area[i];
  }

  /** Area of everything before a position. */
  areaBefore(position: number): number {
    return this.areaBeforeIn(this.indexAt(position), position);
  }

  /** The same for a position known to be in piece `i`, or at the line's end. */
  areaBeforeIn(i: number, position: number): number {
    if (i === this.length) return this.#area[i];
    const begin = this.#begin[i];
    return this.#area[i] + rowArea(this.mask, this.#document[i], begin, begin + position - this.#tokens[i]);
  }

  /** Area of the last `tokens` rows of piece `i`. */
  areaOfBack(i: number, tokens: number): number {
    return rowArea(this.mask, this.#document[i], this.#end[i] - tokens, this.#end[i]);
  }

  /** Tokens of its document before a position in piece `i`. */
  tokensOfDocumentBefore(i: number, position: number): number {
    return this.#begin[i] + position - this.#tokens[i] - this.mask.cuSeqlens[this.#document[i]];
  }

  /** The piece at a position; the number of pieces at the line's end. Looks near the last answer first. */
  indexAt(position: number): number {
    const tokens = this.#tokens;
    const count = this.length;
    let low = Math.min(this.#near, count);
    let high = low;
    let reach = 1;
    while (low > 0 && tokens[low] > position) {
      high = low;
      low = Math.max(0, low - reach);
      reach *= 2;
    }
    while (high < count && tokens[high + 1] <= position) {
      low = high + 1;
      high = Math.min(count, high + reach);
      reach *= 2;
    }
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (tokens[middle + 1] <= position) low = middle + 1;
      else high = middle;
    }
    this.#near = low;
    return low;
  }

  /** Hands all pieces to `out` and leaves the line empty. */
  takeAll(out: PieceList): void {
    this.#hand(out, 0, this.length);
    this.length = 0;
  }

  /** Hands the pieces of the given indices, which descend, to `out`. */
  takePieces(indices: readonly number[], out: PieceList): void {
    if (indices.length === 0) return;
    for (const i of indices) this.#hand(out, i, i + 1);
    const first = indices[indices.length - 1];
    let kept = first;
    let next = indices.length - 1;
    for (let i = first; i < this.length; i++) {
      if (next >= 0 && indices[next] === i) next--;
      else this.#put(kept++, this.#document[i], this.#begin[i], this.#end[i], this.#key[i]);
    }
    this.length = kept;
    this.#measure(first);
  }

  /** Hands what lies between two positions to `out`; what is left of cut pieces finds its new place on the line. */
  takeBetween(begin: number, end: number, out: PieceList): void {
    if (begin >= end) return;
    const first = this.indexAt(begin);
    const past = this.indexAt(end);
    const cutFirst = first < this.length && this.#tokens[first] < begin;
    const cutPast = past < this.length && this.#tokens[past] < end;
    const head = { document: this.#document[first], begin: this.#begin[first], end: this.#at(first, begin) };
    const tail = cutPast && { document: this.#document[past], begin: this.#at(past, end), end: this.#end[past] };
    if (cutFirst) this.#begin[first] = head.end;
    if (tail) this.#end[past] = tail.begin;
    const taken = tail ? past + 1 : past;
    this.#hand(out, first, taken);
    this.#remove(first, taken);
    let changed = first;
    if (tail) changed = Math.min(changed, this.#insert(tail.document, tail.begin, tail.end));
    if (cutFirst) changed = Math.min(changed, this.#insert(head.document, head.begin, head.end));
    this.#measure(changed);
  }

  /** Hands all but what lies between two positions to `out`; what is left of cut pieces finds its new place on the line. */
  takeAround(begin: number, end: number, out: PieceList): void {
    if (begin >= end) {
      this.takeAll(out);
      return;
    }
    const first = this.indexAt(begin);
    const past = this.indexAt(end);
    this.#hand(out, 0, first);
    this.#hand(out, past < this.length && this.#tokens[past] < end ? past + 1 : past, this.length);
    const cutPast = past < this.length && this.#tokens[past] < end;
    const cutFirst = this.#tokens[first] < begin;
    const tail = cutPast && { document: this.#document[past], begin: this.#begin[past], end: this.#at(past, end) };
    const head = cutFirst && { document: this.#document[first], begin: this.#at(first, begin), end: this.#end[first] };
    if (tail) out.push(tail.document, tail.end, this.#end[past]);
    if (head) out.push(head.document, this.#begin[first], head.begin);
    const kept = head ? first + 1 : first;
    this.#remove(Math.max(kept, past), this.length);
    this.#remove(0, kept);
    // Both cuts may be in one piece, of which then only the middle stays.
    if (head && tail && first === past) {
      this.#insert(head.document, head.begin, tail.end);
    } else {
      if (head) this.#insert(head.document, head.begin, head.end);
      if (tail) this.#insert(tail.document, tail.begin, tail.end);
    }
    this.#measure(0);
  }

  #at(i: number, position: number): number {
    return this.#begin[i] + position - this.#tokens[i];
  }

  #isSmall(document: number, begin: number, end: number): boolean {
    return end - begin <= this.small.tokens && rowArea(this.mask, document, begin, end) <= this.small.area;
  }

  /**
   * Lays out small pieces by the van der Corput sequence: the binary digits of a piece's number, mirrored, are its place. So
   * neighbours in the new order were far apart in the old one, and every stretch samples all of it.
   */
  #layMixed(rows: readonly number[], document: Int32Array, begin: Int32Array, end: Int32Array): void {
    const digits = 32 - Math.clz32(Math.max(1, rows.length) - 1);
    const places = 2 ** digits;
    for (let place = 0; place < places; place++) {
      let number = 0;
      for (let digit = 0; digit < digits; digit++) number = (number << 1) | ((place >>> digit) & 1);
      if (number >= rows.length) continue;
      const row = rows[number];
      this.#put(this.length++, document[row], begin[row], end[row], place / places - 1);
    }
  }

  #put(i: number, document: number, begin: number, end: number, key: number): void {
    this.#document[i] = document;
    this.#begin[i] = begin;
    this.#end[i] = end;
    this.#key[i] = key;
  }

  #hand(out: PieceList, from: number, to: number): void {
    for (let i = from; i < to; i++) out.push(this.#document[i], this.#begin[i], this.#end[i]);
  }

  #remove(from: number, to: number): void {
    if (from >= to) return;
    this.#move(from, to);
    this.length -= to - from;
  }

  /** Puts a piece in its place and returns it; the caller measures the line. */
  #insert(document: number, begin: number, end: number): number {
    const isSmall = this.#isSmall(document, begin, end);
    const key = isSmall ? -1 : rowArea(this.mask, document, begin, end) / (end - begin);
    let low = 0;
    let high = this.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#key[middle] < key || (this.#key[middle] === key && this.#begin[middle] < begin)) low = middle + 1;
      else high = middle;
    }
    this.#move(low + 1, low);
    this.length++;
    this.#put(low, document, begin, end, key);
    return low;
  }

  /** Moves the pieces from `from` on to `to`. */
  #move(to: number, from: number): void {
    this.#document.copyWithin(to, from, this.length);
    this.#begin.copyWithin(to, from, this.length);
    this.#end.copyWithin(to, from, this.length);
    this.#key.copyWithin(to, from, this.length);
  }

  /** Sums tokens and area again from piece `from` on. */
  #measure(from: number): void {
    let tokens = this.#tokens[from];
    let area = this.#area[from];
    for (let i = from; i < this.length; i++) {
      tokens += this.#end[i] - this.#begin[i];
      area += rowArea(this.mask, this.#document[i], this.#begin[i], this.#end[i]);
      this.#tokens[i + 1] = tokens;
      this.#area[i + 1] = area;
    }
  }

  #reserve(capacity: number): void {
    if (this.#document.length >= capacity) return;
    this.#document = new Int32Array(capacity);
    this.#begin = new Int32Array(capacity);
    this.#end = new Int32Array(capacity);
    this.#key = new Float64Array(capacity);
    this.#tokens = new Int32Array(capacity + 1);
    this.#area = new Float64Array(capacity + 1);
  }
}
