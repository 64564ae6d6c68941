import { Line, type Small } from "./line.ts";
import type { Piece } from "./piece.ts";
import type { RowArea } from "./row-area.ts";

/** How far a bin may be from its share, as fractions of it. With 0 every bin is exact to a token. */
export interface Tolerance {
  readonly tokens: number;
  readonly area: number;
}

export interface FillOptions {
  readonly tolerance: Tolerance;
  /** Whether small pieces are mixed, so that bins are alike; without it both sums can always be met. */
  readonly mixed: boolean;
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
  { tolerance, mixed }: FillOptions,
): Piece[][] {
  const weightOfAll = weights.reduce((sum, weight) => sum + weight, 0);
  const small = mixed ? smallOf(work, pieces, Math.min(...weights) / weightOfAll) : { tokens: 0, area: 0 };
  let line = Line.of(work.rowArea, small, pieces);
  let weightLeft = weightOfAll;
  return weights.map((weight) => {
    const tokens = Math.round((line.totalTokens * weight) / weightLeft);
    const area = (line.totalArea * weight) / weightLeft;
    const slack = { tokens: tolerance.tokens * tokens, area: tolerance.area * area };
    const isLast = weight === weightLeft;
    weightLeft -= weight;
    const { taken, left } = isLast ? line.cutOut(0, line.totalTokens) : takeShare(work, line, { tokens, area }, slack);
    line = left;
    return taken.map(({ document, begin, end }) => ({ document, begin, end }));
  });
}

/** A piece with at most a 32nd of the tokens and area of the smallest bin is small. */
function smallOf({ rowArea }: Work, pieces: readonly Piece[], smallestBin: number): Small {
  let tokens = 0;
  let area = 0;
  for (const { document, begin, end } of pieces) {
    tokens += end - begin;
    area += rowArea(document, begin, end);
  }
  return { tokens: (tokens * smallestBin) / 32, area: (area * smallestBin) / 32 };
}

interface Amount {
  readonly tokens: number;
  readonly area: number;
}

interface Taken {
  readonly taken: readonly Piece[];
  readonly left: Line;
}

function takeShare(work: Work, line: Line, share: Amount, slack: Amount): Taken {
  if (share.tokens === 0) return { taken: [], left: line };
  if (share.tokens >= line.totalTokens) return line.cutOut(0, line.totalTokens);
  const whole = wholePieces(line, share, slack);
  if (whole.length === 0) return takeBackAndFronts(line, share, slack);
  const rest = line.without(new Set(whole));
  const need = {
    tokens: share.tokens - (line.totalTokens - rest.totalTokens),
    area: share.area - (line.totalArea - rest.totalArea),
  };
  const window = closingWindow(work, rest, need, slack);
  const { taken, left } = rest.cutOut(window.begin, window.end);
  return { taken: [...whole.map((i) => line.pieces[i]), ...taken], left };
}

/**
 * Pieces to take whole, longest first, each only if what is left of the share can then still be met by the others. Stops
 * while there is room for some small pieces, so that closing the share has a choice.
 */
function wholePieces(line: Line, share: Amount, slack: Amount): number[] {
  const whole: number[] = [];
  let { tokens, area } = share;
  let longestSkipped = -1;
  for (let i = line.pieces.length - 1; i >= 0 && tokens > slack.tokens + line.small.tokens; i--) {
    const tokensThen = tokens - line.tokensOf(i);
    const areaThen = area - line.pieces[i].area;
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
  const least = line.areaBefore(Math.min(tokens, before)) + Math.max(0, tokens - before) * line.pieces[i].mean;
  const most =
    longestSkipped >= 0
      ? mostOf(line, longestSkipped, tokens)
      : line.areaBefore(before) - line.areaBefore(before - tokens);
  return least <= area + slack.area && area <= most + slack.area;
}

/** The most area that `tokens` tokens can have: the back of piece `i`, or at least no more than all rows like its last. */
function mostOf(line: Line, i: number, tokens: number): number {
  return tokens <= line.tokensOf(i) ? line.areaOfBack(i, tokens) : tokens * line.maxOf(i);
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
  const middle = line.totalTokens - back;
  return { taken: line.cutOut(fronts, middle).left.pieces, left: line.between(fronts, middle) };
}

interface Window {
  readonly begin: number;
  readonly end: number;
}

/** The best window of the line that makes up `need`: of whole pieces if there is one, else the one with the cheapest cuts. */
function closingWindow(work: Work, line: Line, need: Amount, slack: Amount): Window {
  if (Math.abs(need.tokens) <= slack.tokens && Math.abs(need.area) <= slack.area) return { begin: 0, end: 0 };
  return wholeWindow(line, need, slack) ?? cutWindow(work, line, need, slack);
}

/** The stretch of whole pieces that comes closest to `need`, if one comes close enough. */
function wholeWindow(line: Line, need: Amount, slack: Amount): Window | undefined {
  let best: Window | undefined;
  let bestMiss = Number.POSITIVE_INFINITY;
  let to = 0;
  for (let from = 0; from < line.pieces.length; from++) {
    const begin = line.tokensBefore(from);
    while (to < line.pieces.length && line.tokensBefore(to) < begin + need.tokens) to++;
    // The border at or after the sought end, and the one before it.
    for (const past of to > from ? [to, to - 1] : [to]) {
      const missedTokens = Math.abs(line.tokensBefore(past) - begin - need.tokens);
      const missedArea = Math.abs(line.areaBeforePiece(past) - line.areaBeforePiece(from) - need.area);
      if (missedTokens > slack.tokens || missedArea > slack.area) continue;
      const miss = missedTokens * slack.area + missedArea * slack.tokens;
      if (miss >= bestMiss) continue;
      best = { begin, end: line.tokensBefore(past) };
      bestMiss = miss;
    }
  }
  return best;
}

/** The stretch with exactly the tokens of `need` whose cuts cost least: with its exact area, or one cut less if that is close enough. */
function cutWindow(work: Work, line: Line, need: Amount, slack: Amount): Window {
  const tokens = Math.max(0, Math.min(need.tokens, line.totalTokens));
  const areaFrom = (begin: number) => line.areaBefore(begin + tokens) - line.areaBefore(begin);
  let low = 0;
  let high = line.totalTokens - tokens;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (areaFrom(middle) < need.area) low = middle + 1;
    else high = middle;
  }
  let best = low;
  let bestCost = cutCost(work, line, low) + cutCost(work, line, low + tokens);
  for (let i = 0; i <= line.pieces.length; i++) {
    for (const begin of [line.tokensBefore(i), line.tokensBefore(i) - tokens]) {
      if (begin < 0 || begin + tokens > line.totalTokens) continue;
      if (Math.abs(areaFrom(begin) - need.area) > slack.area) continue;
      const cost = cutCost(work, line, begin) + cutCost(work, line, begin + tokens);
      if (cost >= bestCost) continue;
      best = begin;
      bestCost = cost;
    }
  }
  return { begin: best, end: best + tokens };
}

/** Tokens that travel because the line is cut at `position`: the keys before the cut go to the owner of what follows. */
function cutCost({ cuSeqlens }: Work, line: Line, position: number): number {
  const i = line.indexAt(position);
  if (i >= line.pieces.length || line.tokensBefore(i) === position) return 0;
  const piece = line.pieces[i];
  return piece.begin + (position - line.tokensBefore(i)) - cuSeqlens[piece.document];
}
