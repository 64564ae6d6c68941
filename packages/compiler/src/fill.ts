import { type Line, lineOf } from "./line.ts";
import type { Piece } from "./piece.ts";
import type { RowArea } from "./row-area.ts";

/** How far a bin may be from its share, as fractions of it. With 0 every bin is exact to a token. */
export interface Tolerance {
  readonly tokens: number;
  readonly area: number;
}

/** Where documents begin, and the area of their rows: what the cost of a cut depends on. */
export interface Work {
  readonly cuSeqlens: Int32Array;
  readonly rowArea: RowArea;
}

/**
 * Deals pieces to bins so that each gets its share (by weight) of the tokens and of the area, with few and cheap cuts.
 *
 * A document that several bins hold costs each of them its keys up to its last row there, less what it owns: cutting a
 * front off is cheap, cutting a back off dear. So bins are filled one after the other, each from the longest piece
 * down: whole pieces as long as the shortest ones left can fill the rest; a piece too large for an empty bin gives its
 * back, as much as the bin can take when all else is short. What remains of the bin is closed by a window of
 * neighbours in the order of mean area per token. As a window slides from the shortest to the longest pieces its area
 * grows from too little to too much, so one of them always fits: both sums are met whatever the lengths are.
 */
export function fillBins(
  work: Work,
  pieces: readonly Piece[],
  weights: readonly number[],
  tolerance: Tolerance,
): Piece[][] {
  let line = lineOf(work.rowArea, pieces);
  let weightLeft = weights.reduce((sum, weight) => sum + weight, 0);
  return weights.map((weight, bin) => {
    const tokens = Math.round((line.totalTokens * weight) / weightLeft);
    const area = (line.totalArea * weight) / weightLeft;
    weightLeft -= weight;
    if (bin === weights.length - 1) return line.pieces.slice();
    const taken = takeShare(
      work,
      line,
      { tokens, area },
      { tokens: tolerance.tokens * tokens, area: tolerance.area * area },
    );
    line = lineOf(work.rowArea, taken.left);
    return taken.taken;
  });
}

interface Amount {
  readonly tokens: number;
  readonly area: number;
}

interface Taken {
  readonly taken: Piece[];
  readonly left: Piece[];
}

function takeShare(work: Work, line: Line, share: Amount, slack: Amount): Taken {
  if (share.tokens === 0) return { taken: [], left: line.pieces.slice() };
  if (share.tokens >= line.totalTokens) return { taken: line.pieces.slice(), left: [] };
  const whole = wholePieces(line, share, slack);
  if (whole.length === 0) return takeBackAndFronts(line, share, slack);
  const chosen = new Set(whole);
  const rest = lineOf(
    work.rowArea,
    line.pieces.filter((_, i) => !chosen.has(i)),
  );
  const tokens = whole.reduce((sum, i) => sum + line.tokensOf(i), 0);
  const area = whole.reduce((sum, i) => sum + line.areaOf(i), 0);
  const window = closingWindow(work, rest, { tokens: share.tokens - tokens, area: share.area - area }, slack);
  const closed = cutOut(rest, window.begin, window.end);
  return { taken: [...whole.map((i) => line.pieces[i]), ...closed.taken], left: closed.left };
}

/** Pieces to take whole, longest first, each only if what is left of the share can then still be met by the others. */
function wholePieces(line: Line, share: Amount, slack: Amount): number[] {
  const whole: number[] = [];
  let { tokens, area } = share;
  let longestSkipped = -1;
  for (let i = line.pieces.length - 1; i >= 0 && tokens > slack.tokens; i--) {
    const tokensThen = tokens - line.tokensOf(i);
    const areaThen = area - line.areaOf(i);
    if (fillable(line, i, longestSkipped, tokensThen, areaThen, slack)) {
      whole.push(i);
      tokens = tokensThen;
      area = areaThen;
    } else {
      // A piece too large for an empty bin has to be cut: nothing shorter makes the bin's area otherwise.
      if (whole.length === 0) return whole;
      longestSkipped = Math.max(longestSkipped, i);
    }
  }
  return whole;
}

/** Whether pieces before `i` (and, for the upper bound, the longest that was skipped) can make up `tokens` with `area`. */
function fillable(line: Line, i: number, longestSkipped: number, tokens: number, area: number, slack: Amount): boolean {
  if (tokens < -slack.tokens || area < -slack.area) return false;
  if (tokens <= slack.tokens) return area <= slack.area;
  const before = line.tokensBefore(i);
  if (tokens > before && longestSkipped < 0) return false;
  const least = line.areaBefore(Math.min(tokens, before)) + Math.max(0, tokens - before) * line.meanOf(i);
  const most =
    longestSkipped >= 0
      ? tokens * line.maxOf(longestSkipped)
      : line.areaBefore(before) - line.areaBefore(before - tokens);
  return least <= area + slack.area && area <= most + slack.area;
}

/** The back of the longest piece, and fronts of the line to fill up. */
function takeBackAndFronts(line: Line, share: Amount, slack: Amount): Taken {
  const last = line.pieces.length - 1;
  const backFor = (fronts: number | undefined): number => {
    // The back grows until it meets the area, together with the given fronts or with those that make up the tokens.
    let low = 0;
    let high = Math.min(share.tokens, line.tokensOf(last));
    while (low < high) {
      const back = (low + high) >>> 1;
      const area = line.areaOfBack(last, back) + line.areaBefore(fronts ?? share.tokens - back);
      if (area < share.area) low = back + 1;
      else high = back;
    }
    return low;
  };
  let back = backFor(undefined);
  let fronts = share.tokens - back;
  for (const border of line.bordersAround(fronts)) {
    const backThen = backFor(border);
    const ok = border + backThen <= line.totalTokens && Math.abs(border + backThen - share.tokens) <= slack.tokens;
    const area = line.areaOfBack(last, backThen) + line.areaBefore(border);
    if (ok && Math.abs(area - share.area) <= slack.area) {
      back = backThen;
      fronts = border;
      break;
    }
  }
  const top = cutOut(line, line.totalTokens - back, line.totalTokens);
  const inner = cutOut(line, fronts, line.totalTokens - back);
  const front = cutOut(line, 0, fronts);
  return { taken: [...front.taken, ...top.taken], left: inner.taken };
}

interface Window {
  readonly begin: number;
  readonly end: number;
}

/** The cheapest window of the line that makes up `need`: both ends at borders of pieces if that is close enough, else one, else none. */
function closingWindow(work: Work, line: Line, need: Amount, slack: Amount): Window {
  if (Math.abs(need.tokens) <= slack.tokens && Math.abs(need.area) <= slack.area) return { begin: 0, end: 0 };
  const tokens = Math.max(0, Math.min(need.tokens, line.totalTokens));
  const areaFrom = (begin: number, end: number) => line.areaBefore(end) - line.areaBefore(begin);
  let low = 0;
  let high = line.totalTokens - tokens;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (areaFrom(middle, middle + tokens) < need.area) low = middle + 1;
    else high = middle;
  }
  let best: Window = { begin: low, end: low + tokens };
  let bestCost = cutCost(work, line, best.begin) + cutCost(work, line, best.end);
  const consider = (begin: number, end: number) => {
    if (begin < 0 || end < begin || end > line.totalTokens) return;
    if (Math.abs(end - begin - need.tokens) > slack.tokens) return;
    if (Math.abs(areaFrom(begin, end) - need.area) > slack.area) return;
    const cost = cutCost(work, line, begin) + cutCost(work, line, end);
    if (cost >= bestCost) return;
    best = { begin, end };
    bestCost = cost;
  };
  for (let i = 0; i < line.pieces.length && bestCost > 0; i++) {
    const begin = line.tokensBefore(i);
    for (const end of line.bordersAround(begin + tokens)) consider(begin, end);
    consider(begin, begin + tokens);
    consider(line.tokensBefore(i + 1) - tokens, line.tokensBefore(i + 1));
  }
  return best;
}

/** Tokens that travel because the line is cut at `position`: the keys before the cut go to the owner of what follows. */
function cutCost({ cuSeqlens }: Work, line: Line, position: number): number {
  const i = line.indexAt(position);
  if (i >= line.pieces.length || line.tokensBefore(i) === position) return 0;
  const piece = line.pieces[i];
  return piece.begin + (position - line.tokensBefore(i)) - cuSeqlens[piece.document];
}

/** Splits the line into what lies in [begin, end) and what does not. */
function cutOut(line: Line, begin: number, end: number): Taken {
  const taken: Piece[] = [];
  const left: Piece[] = [];
  line.pieces.forEach((piece, i) => {
    const from = Math.max(0, Math.min(begin - line.tokensBefore(i), line.tokensOf(i)));
    const to = Math.max(from, Math.min(end - line.tokensBefore(i), line.tokensOf(i)));
    const part = (a: number, b: number) => ({ document: piece.document, begin: piece.begin + a, end: piece.begin + b });
    if (from === 0 && to === line.tokensOf(i)) taken.push(piece);
    else if (from === to) left.push(piece);
    else {
      taken.push(part(from, to));
      if (from > 0) left.push(part(0, from));
      if (to < line.tokensOf(i)) left.push(part(to, line.tokensOf(i)));
    }
  });
  return { taken, left };
}
