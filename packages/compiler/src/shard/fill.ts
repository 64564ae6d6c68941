import type { PieceList, Pieces } from "../piece.ts";
import type { Line, Small } from "./line.ts";
import { type Mask, rowArea } from "./row-area.ts";

/** How far a bin may be from its share, as fractions of it. With 0 every bin is exact to a token. */
export interface Tolerance {
  readonly tokens: number;
  readonly area: number;
}

/** Bins as they are filled: bin i gets the pieces from row binBegin[i] on. */
export interface Bins {
  readonly pieces: PieceList;
  readonly binBegin: number[];
}

/**
 * Deals the pieces of a line to bins so that each gets its share (by weight) of the tokens and of the area, with few and
 * cheap cuts; the line is empty afterwards.
 *
 * A document that several bins hold costs each of them its keys up to its last row there, less what it owns: cutting a
 * front off is cheap, cutting a back off dear. So bins are filled one after the other, each from the longest piece
 * down: whole pieces as long as the shortest ones left can fill the rest; a piece too large for an empty bin gives its
 * back, as much as the bin can take when all else is short. What remains of the bin is closed by a window of
 * neighbours in the order of mean area per token. As a window slides from the shortest to the longest pieces its area
 * grows from too little to too much, so one of them always fits: both sums are met whatever the lengths are.
 */
export function fillBins(
  line: Line,
  weights: readonly number[],
  tolerance: Tolerance,
  { pieces, binBegin }: Bins,
): void {
  let weightLeft = weights.reduce((sum, weight) => sum + weight, 0);
  for (const weight of weights) {
    binBegin.push(pieces.length);
    const tokens = Math.round((line.totalTokens * weight) / weightLeft);
    const area = (line.totalArea * weight) / weightLeft;
    const slack = { tokens: tolerance.tokens * tokens, area: tolerance.area * area };
    if (weight === weightLeft) line.takeAll(pieces);
    else takeShare(line, { tokens, area }, slack, pieces);
    weightLeft -= weight;
  }
}

/** What is small when pieces are dealt by weight: at most a 32nd of the tokens and area of the smallest bin. */
export function smallOf(mask: Mask, { document, begin, end }: Pieces, rows: Int32Array, share: number): Small {
  let tokens = 0;
  let area = 0;
  for (const row of rows) {
    tokens += end[row] - begin[row];
    area += rowArea(mask, document[row], begin[row], end[row]);
  }
  return { tokens: (tokens * share) / 32, area: (area * share) / 32 };
}

interface Amount {
  readonly tokens: number;
  readonly area: number;
}

function takeShare(line: Line, share: Amount, slack: Amount, out: PieceList): void {
  if (share.tokens === 0) return;
  if (share.tokens >= line.totalTokens) {
    line.takeAll(out);
    return;
  }
  const whole = wholePieces(line, share, slack);
  if (whole.length === 0) {
    takeBackAndFronts(line, share, slack, out);
    return;
  }
  const { totalTokens, totalArea } = line;
  line.takePieces(whole, out);
  const need = {
    tokens: share.tokens - (totalTokens - line.totalTokens),
    area: share.area - (totalArea - line.totalArea),
  };
  const window = closingWindow(line, need, slack);
  line.takeBetween(window.begin, window.end, out);
}

/**
 * Pieces to take whole, longest first, each only if what is left of the share can then still be met by the others. Stops
 * while there is room for some small pieces, so that closing the share has a choice.
 */
function wholePieces(line: Line, share: Amount, slack: Amount): number[] {
  const whole: number[] = [];
  let { tokens, area } = share;
  let longestSkipped = -1;
  for (let i = line.length - 1; i >= 0 && tokens > slack.tokens + line.small.tokens; i--) {
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
  const beyond = tokens > before ? (tokens - before) * (line.areaOf(i) / line.tokensOf(i)) : 0;
  const least = line.areaBefore(Math.min(tokens, before)) + beyond;
  if (least > area + slack.area) return false;
  const most =
    longestSkipped >= 0
      ? mostOf(line, longestSkipped, tokens)
      : line.areaBeforePiece(i) - line.areaBefore(before - tokens);
  return area <= most + slack.area;
}

/** The most area that `tokens` tokens can have: the back of piece `i`, or at least no more than all rows like its last. */
function mostOf(line: Line, i: number, tokens: number): number {
  return tokens <= line.tokensOf(i) ? line.areaOfBack(i, tokens) : tokens * line.maxOf(i);
}

/** The back of the longest piece, and fronts of the line to fill up. */
function takeBackAndFronts(line: Line, share: Amount, slack: Amount, out: PieceList): void {
  const last = line.length - 1;
  let back = backFor(line, share, undefined);
  let fronts = share.tokens - back;
  for (const border of bordersAround(line, fronts)) {
    const backThen = backFor(line, share, border);
    const ok = border + backThen <= line.totalTokens && Math.abs(border + backThen - share.tokens) <= slack.tokens;
    const area = line.areaOfBack(last, backThen) + line.areaBefore(border);
    if (ok && Math.abs(area - share.area) <= slack.area) {
      back = backThen;
      fronts = border;
      break;
    }
  }
  line.takeAround(fronts, line.totalTokens - back, out);
}

/** The back of the longest piece that meets the area together with the given fronts, or with those that make up the tokens. */
function backFor(line: Line, share: Amount, fronts: number | undefined): number {
  const last = line.length - 1;
  let low = 0;
  let high = Math.min(share.tokens, line.tokensOf(last));
  while (low < high) {
    const back = (low + high) >>> 1;
    const area = line.areaOfBack(last, back) + line.areaBefore(fronts ?? share.tokens - back);
    if (area < share.area) low = back + 1;
    else high = back;
  }
  return low;
}

/** The borders of pieces around a position, the nearer one first. */
function bordersAround(line: Line, position: number): number[] {
  const i = line.indexAt(position);
  if (i === line.length || line.tokensBefore(i) === position) return [position];
  const [before, after] = [line.tokensBefore(i), line.tokensBefore(i + 1)];
  return position - before <= after - position ? [before, after] : [after, before];
}

interface Window {
  readonly begin: number;
  readonly end: number;
}

/** The best window of the line that makes up `need`: of whole pieces if there is one, else the one with the cheapest cuts. */
function closingWindow(line: Line, need: Amount, slack: Amount): Window {
  if (Math.abs(need.tokens) <= slack.tokens && Math.abs(need.area) <= slack.area) return { begin: 0, end: 0 };
  return wholeWindow(line, need, slack) ?? cutWindow(line, need, slack);
}

/** The stretch of whole pieces that comes closest to `need`, if one comes close enough. */
function wholeWindow(line: Line, need: Amount, slack: Amount): Window | undefined {
  let best: Window | undefined;
  let bestMiss = Number.POSITIVE_INFINITY;
  let to = 0;
  for (let from = 0; from < line.length; from++) {
    const begin = line.tokensBefore(from);
    while (to < line.length && line.tokensBefore(to) < begin + need.tokens) to++;
    // The border at or after the sought end, and the one before it.
    for (let past = to; past >= (to > from ? to - 1 : to); past--) {
      const missedTokens = Math.abs(line.tokensBefore(past) - begin - need.tokens);
      if (missedTokens > slack.tokens) continue;
      const missedArea = Math.abs(line.areaBeforePiece(past) - line.areaBeforePiece(from) - need.area);
      if (missedArea > slack.area) continue;
      const miss = missedTokens * slack.area + missedArea * slack.tokens;
      if (miss >= bestMiss) continue;
      best = { begin, end: line.tokensBefore(past) };
      bestMiss = miss;
    }
  }
  return best;
}

/** The stretch with exactly the tokens of `need` whose cuts cost least: with its exact area, or one cut less if that is close enough. */
function cutWindow(line: Line, need: Amount, slack: Amount): Window {
  const tokens = Math.max(0, Math.min(need.tokens, line.totalTokens));
  let low = 0;
  let high = line.totalTokens - tokens;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (line.areaBefore(middle + tokens) - line.areaBefore(middle) < need.area) low = middle + 1;
    else high = middle;
  }
  let best = low;
  let bestCost = cutCost(line, line.indexAt(low), low) + cutCost(line, line.indexAt(low + tokens), low + tokens);
  // Windows that begin or end at a border of pieces; the pieces of their other ends only ever move on.
  let ending = 0;
  let beginning = 0;
  for (let i = 0; i <= line.length; i++) {
    const border = line.tokensBefore(i);
    const area = line.areaBeforePiece(i);
    if (border + tokens <= line.totalTokens) {
      while (ending < line.length && line.tokensBefore(ending + 1) <= border + tokens) ending++;
      const areaFrom = line.areaBeforeIn(ending, border + tokens) - area;
      if (Math.abs(areaFrom - need.area) <= slack.area) {
        const cost = cutCost(line, ending, border + tokens);
        if (cost < bestCost) [best, bestCost] = [border, cost];
      }
    }
    if (border >= tokens) {
      while (beginning < line.length && line.tokensBefore(beginning + 1) <= border - tokens) beginning++;
      const areaFrom = area - line.areaBeforeIn(beginning, border - tokens);
      if (Math.abs(areaFrom - need.area) <= slack.area) {
        const cost = cutCost(line, beginning, border - tokens);
        if (cost < bestCost) [best, bestCost] = [border - tokens, cost];
      }
    }
  }
  return { begin: best, end: best + tokens };
}

/** Tokens that travel because the line is cut at a position in piece `i`: the keys before the cut go to the owner of what follows. */
function cutCost(line: Line, i: number, position: number): number {
  if (i >= line.length || line.tokensBefore(i) === position) return 0;
  return line.tokensOfDocumentBefore(i, position);
}
