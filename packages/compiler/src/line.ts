import type { Piece } from "./piece.ts";
import type { RowArea } from "./row-area.ts";

/** A piece with its area, its mean area per token, and what decides its place on the line. */
export interface Weighed extends Piece {
  readonly area: number;
  readonly mean: number;
  readonly key: number;
}

/** Up to how many tokens and how much area a piece is small. */
export interface Small {
  readonly tokens: number;
  readonly area: number;
}

/**
 * Pieces laid end to end, from small to large. Small ones come first, mixed so that any stretch has short and long ones
 * in like shares: bins that hold many documents are then alike, not only in their sums. The others are in the order of
 * mean area per token. A position on the line is a number of tokens, and any stretch of it is a choice of tokens that
 * cuts at most two pieces.
 */
export class Line {
  readonly #tokens: Float64Array;
  readonly #area: Float64Array;
  #near = 0;

  private constructor(
    readonly rowArea: RowArea,
    readonly small: Small,
    readonly pieces: readonly Weighed[],
  ) {
    this.#tokens = new Float64Array(pieces.length + 1);
    this.#area = new Float64Array(pieces.length + 1);
    for (let i = 0; i < pieces.length; i++) {
      this.#tokens[i + 1] = this.#tokens[i] + pieces[i].end - pieces[i].begin;
      this.#area[i + 1] = this.#area[i] + pieces[i].area;
    }
  }

  static of(rowArea: RowArea, small: Small, pieces: readonly Piece[]): Line {
    const weighed = pieces.map((piece) => weigh(rowArea, small, piece));
    const large = weighed.filter(({ key }) => key >= 0).sort(byKey);
    const smallOnes = weighed.filter(({ key }) => key < 0).sort((a, b) => a.mean - b.mean || a.begin - b.begin);
    return new Line(rowArea, small, [...mixed(smallOnes), ...large]);
  }

  get totalTokens(): number {
    return this.#tokens[this.pieces.length];
  }

  get totalArea(): number {
    return this.#area[this.pieces.length];
  }

  tokensOf(i: number): number {
    return this.#tokens[i + 1] - this.#tokens[i];
  }

  /** Area of the last row of piece `i`. */
  maxOf(i: number): number {
    const { document, end } = this.pieces[i];
    return this.rowArea(document, end - 1, end);
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
    const i = this.indexAt(position);
    if (i === this.pieces.length) return this.#area[i];
    const { document, begin } = this.pieces[i];
    return this.#area[i] + this.rowArea(document, begin, begin + position - this.#tokens[i]);
  }

  /** Area of the last `tokens` rows of piece `i`. */
  areaOfBack(i: number, tokens: number): number {
    const { document, end } = this.pieces[i];
    return this.rowArea(document, end - tokens, end);
  }

  /** The piece at a position; the number of pieces at the line's end. Looks near the last answer first. */
  indexAt(position: number): number {
    const tokens = this.#tokens;
    const count = this.pieces.length;
    let low = this.#near;
    let high = this.#near;
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

  /** The borders of pieces around a position, the nearer one first. */
  bordersAround(position: number): number[] {
    const i = this.indexAt(position);
    if (i === this.pieces.length || this.#tokens[i] === position) return [position];
    const borders = [this.#tokens[i], this.#tokens[i + 1]];
    return position - borders[0] <= borders[1] - position ? borders : borders.reverse();
  }

  /** The line without some of its pieces. */
  without(indices: ReadonlySet<number>): Line {
    return this.#with(this.pieces.filter((_, i) => !indices.has(i)));
  }

  /** A line of other pieces whose places are known. */
  #with(pieces: readonly Weighed[]): Line {
    return new Line(this.rowArea, this.small, pieces);
  }

  /** The line of what lies between two positions. */
  between(begin: number, end: number): Line {
    return this.#with(this.cutOut(begin, end).taken.sort(byKey));
  }

  /** Takes out what lies between two positions; what is left of cut pieces finds its new place on the line. */
  cutOut(begin: number, end: number): { readonly taken: Weighed[]; readonly left: Line } {
    if (begin >= end) return { taken: [], left: this };
    const first = this.indexAt(begin);
    const past = this.indexAt(end);
    const taken: Weighed[] = this.pieces.slice(first, past);
    const left = [...this.pieces.slice(0, first), ...this.pieces.slice(past)];
    const at = (i: number, position: number) => this.pieces[i].begin + position - this.#tokens[i];
    const part = ({ document }: Piece, from: number, to: number) =>
      weigh(this.rowArea, this.small, { document, begin: from, end: to });
    if (past < this.pieces.length && this.#tokens[past] < end) {
      const piece = this.pieces[past];
      left.splice(left.indexOf(piece), 1);
      taken.push(part(piece, piece.begin, at(past, end)));
      insert(left, part(piece, at(past, end), piece.end));
    }
    if (first < this.pieces.length && this.#tokens[first] < begin) {
      const [piece] = taken;
      taken[0] = part(piece, at(first, begin), piece.end);
      insert(left, part(piece, piece.begin, at(first, begin)));
    }
    return { taken, left: this.#with(left) };
  }
}

function weigh(rowArea: RowArea, small: Small, { document, begin, end }: Piece): Weighed {
  const area = rowArea(document, begin, end);
  const mean = area / (end - begin);
  return { document, begin, end, area, mean, key: end - begin <= small.tokens && area <= small.area ? -1 : mean };
}

const byKey = (a: Weighed, b: Weighed): number => a.key - b.key || a.begin - b.begin;

/**
 * Orders pieces by the van der Corput sequence: the binary digits of a piece's number, mirrored, are its place. So
 * neighbours in the new order were far apart in the old one, and every stretch samples all of it.
 */
function mixed(pieces: readonly Weighed[]): Weighed[] {
  const digits = Math.ceil(Math.log2(Math.max(1, pieces.length)));
  const places = 2 ** digits;
  const order: Weighed[] = [];
  for (let place = 0; place < places; place++) {
    let number = 0;
    for (let digit = 0; digit < digits; digit++) number = (number << 1) | ((place >>> digit) & 1);
    if (number < pieces.length) order.push({ ...pieces[number], key: place / places - 1 });
  }
  return order;
}

function insert(line: Weighed[], piece: Weighed): void {
  let low = 0;
  let high = line.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (byKey(line[middle], piece) < 0) low = middle + 1;
    else high = middle;
  }
  line.splice(low, 0, piece);
}
