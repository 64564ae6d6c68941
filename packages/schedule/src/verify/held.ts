/** What a rank does not hold, or has only set empty. Other contents: see `contributions`; inputs have negative ones. */
export const empty = 0;

/** Rows of one (tensor, part): tokens by heads. */
export interface Rectangle {
  readonly tokenBegin: number;
  readonly tokenEnd: number;
  readonly headBegin: number;
  readonly headEnd: number;
}

/** A band of heads over which the same token segments are held: sorted, disjoint, each with one content. */
interface Band {
  headBegin: number;
  headEnd: number;
  begins: number[];
  ends: number[];
  contents: number[];
}

/**
 * What one rank holds of one (tensor, part): a content for each of some tokens and heads. Heads are cut into bands and each
 * band into token segments, no finer than the blocks that were written, so that a row among thousands is found by bisection.
 */
export class Held {
  /** Sorted by heads, disjoint; there may be heads that no band has. */
  readonly #bands: Band[] = [];

  /** Replaces whatever is held of the rectangle. */
  assign(at: Rectangle, content: number): void {
    const [first, last] = this.#cutBands(at.headBegin, at.headEnd);
    for (let i = first; i < last; i++) assignSegment(this.#bands[i], at.tokenBegin, at.tokenEnd, content);
  }

  /** Calls `visit` for each piece of the rectangle that is held; returns whether those are all of it. */
  read(at: Rectangle, visit?: (content: number, piece: Rectangle) => void): boolean {
    let heads = at.headBegin;
    let complete = true;
    for (const band of this.#bands) {
      if (band.headEnd <= at.headBegin) continue;
      if (band.headBegin >= at.headEnd) break;
      if (band.headBegin > heads) complete = false;
      heads = band.headEnd;
      let token = at.tokenBegin;
      for (let s = firstEndingAfter(band, token); s < band.begins.length && band.begins[s] < at.tokenEnd; s++) {
        if (band.begins[s] > token) complete = false;
        token = band.ends[s];
        visit?.(band.contents[s], {
          tokenBegin: Math.max(band.begins[s], at.tokenBegin),
          tokenEnd: Math.min(band.ends[s], at.tokenEnd),
          headBegin: Math.max(band.headBegin, at.headBegin),
          headEnd: Math.min(band.headEnd, at.headEnd),
        });
      }
      if (token < at.tokenEnd) complete = false;
    }
    return complete && heads >= at.headEnd;
  }

  /** Whether all of the rectangle is held, and with one content only. */
  holdsOnly(at: Rectangle, content: number): boolean {
    let heads = at.headBegin;
    for (const band of this.#bands) {
      if (band.headEnd <= heads) continue;
      if (band.headBegin > heads || heads >= at.headEnd) break;
      heads = band.headEnd;
      let token = at.tokenBegin;
      for (let s = firstEndingAfter(band, token); token < at.tokenEnd; s++) {
        if (s >= band.begins.length || band.begins[s] > token || band.contents[s] !== content) return false;
        token = band.ends[s];
      }
    }
    return heads >= at.headEnd;
  }

  /** Replaces each piece's content by `change` of it; what is not held counts as empty. */
  update(at: Rectangle, change: (content: number) => number): void {
    const [first, last] = this.#cutBands(at.headBegin, at.headEnd);
    for (let i = first; i < last; i++) {
      const band = this.#bands[i];
      const [from, to] = cutSegments(band, at.tokenBegin, at.tokenEnd);
      for (let s = from; s < to; s++) band.contents[s] = change(band.contents[s]);
    }
  }

  /**
   * Replaces the contents of two tensors, piece by piece, by one that depends on both; what is not held counts as empty.
   * Both are cut alike.
   */
  updateWith(other: Held, at: Rectangle, change: (content: number, others: number) => readonly [number, number]): void {
    this.#cutBandsLike(other, at);
    other.#cutBandsLike(this, at);
    const [first, last] = this.#cutBands(at.headBegin, at.headEnd);
    const [otherFirst] = other.#cutBands(at.headBegin, at.headEnd);
    for (let i = first; i < last; i++) {
      const [band, otherBand] = [this.#bands[i], other.#bands[otherFirst + i - first]];
      const [from, to] = cutSegments(band, at.tokenBegin, at.tokenEnd);
      const [otherFrom, otherTo] = cutSegments(otherBand, at.tokenBegin, at.tokenEnd);
      changeBoth(band, from, to, otherBand, otherFrom, otherTo, change);
    }
  }

  /** Cuts this tensor's bands of the rectangle wherever the other's are cut. */
  #cutBandsLike(other: Held, { headBegin, headEnd }: Rectangle): void {
    this.#cutBands(headBegin, headEnd);
    for (const band of other.#bands) {
      if (band.headEnd > headBegin && band.headBegin < headEnd)
        this.#cutBands(Math.max(band.headBegin, headBegin), Math.min(band.headEnd, headEnd));
    }
  }

  /** Cuts bands so that some of them, the returned range, are exactly the heads given. */
  #cutBands(headBegin: number, headEnd: number): [number, number] {
    const bands = this.#bands;
    let i = 0;
    while (i < bands.length && bands[i].headEnd <= headBegin) i++;
    if (i < bands.length && bands[i].headBegin === headBegin && bands[i].headEnd === headEnd) return [i, i + 1];
    if (i < bands.length && bands[i].headBegin < headBegin) splitBand(bands, i++, headBegin);
    const first = i;
    for (let head = headBegin; head < headEnd; head = bands[i++].headEnd) {
      const next = i < bands.length ? Math.min(bands[i].headBegin, headEnd) : headEnd;
      if (next > head) bands.splice(i, 0, { headBegin: head, headEnd: next, begins: [], ends: [], contents: [] });
      else if (bands[i].headEnd > headEnd) splitBand(bands, i, headEnd);
    }
    return [first, i];
  }
}

function splitBand(bands: Band[], i: number, head: number): void {
  const { begins, ends, contents, headBegin, headEnd } = bands[i];
  const copy = () => ({ begins: [...begins], ends: [...ends], contents: [...contents] });
  bands.splice(i, 1, { headBegin, headEnd: head, ...copy() }, { headBegin: head, headEnd, ...copy() });
}

/** The first segment of the band that ends after `token`. */
function firstEndingAfter({ ends }: Band, token: number): number {
  let low = 0;
  let high = ends.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (ends[middle] <= token) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Cuts segments so that some of them, the returned range, are exactly the tokens given; gaps become empty segments. */
function cutSegments(band: Band, tokenBegin: number, tokenEnd: number): [number, number] {
  const { begins, ends } = band;
  const first = firstEndingAfter(band, tokenBegin);
  if (begins[first] === tokenBegin && ends[first] === tokenEnd) return [first, first + 1];
  let s = first;
  if (s < begins.length && begins[s] < tokenBegin) splitSegment(band, s++, tokenBegin);
  const from = s;
  for (let token = tokenBegin; token < tokenEnd; token = ends[s++]) {
    const next = s < begins.length ? Math.min(begins[s], tokenEnd) : tokenEnd;
    if (next > token) replaceSegments(band, s, 0, token, next, empty);
    else if (ends[s] > tokenEnd) splitSegment(band, s, tokenEnd);
  }
  return [from, s];
}

function splitSegment(band: Band, s: number, token: number): void {
  band.begins.splice(s + 1, 0, token);
  band.ends.splice(s, 0, token);
  band.contents.splice(s, 0, band.contents[s]);
}

function replaceSegments(band: Band, s: number, count: number, begin: number, end: number, content: number): void {
  band.begins.splice(s, count, begin);
  band.ends.splice(s, count, end);
  band.contents.splice(s, count, content);
}

/** Sets one content for the tokens, joining neighbours that have the same. */
function assignSegment(band: Band, tokenBegin: number, tokenEnd: number, content: number): void {
  let [from, to] = cutSegments(band, tokenBegin, tokenEnd);
  const { begins, ends, contents } = band;
  let begin = tokenBegin;
  let end = tokenEnd;
  if (from > 0 && ends[from - 1] === begin && contents[from - 1] === content) begin = begins[--from];
  if (to < begins.length && begins[to] === end && contents[to] === content) end = ends[to++];
  if (to - from === 1) contents[from] = content;
  else replaceSegments(band, from, to - from, begin, end, content);
}

function changeBoth(
  band: Band,
  from: number,
  to: number,
  other: Band,
  otherFrom: number,
  otherTo: number,
  change: (content: number, others: number) => readonly [number, number],
): void {
  let [s, sEnd, o, oEnd] = [from, to, otherFrom, otherTo];
  for (; s < sEnd && o < oEnd; s++, o++) {
    if (band.ends[s] > other.ends[o]) {
      splitSegment(band, s, other.ends[o]);
      sEnd++;
    } else if (other.ends[o] > band.ends[s]) {
      splitSegment(other, o, band.ends[s]);
      oEnd++;
    }
    const [content, others] = change(band.contents[s], other.contents[o]);
    band.contents[s] = content;
    other.contents[o] = others;
  }
}
