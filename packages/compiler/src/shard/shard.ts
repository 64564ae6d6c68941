import { type Problem, ranksOf } from "@hsap/schedule";
import { documentsOf, tokensOf } from "@hsap/workload";
import type { Hierarchy } from "../hierarchy.ts";
import { type Piece, PieceList, type Pieces, pieceAt } from "../piece.ts";
import { rowNumbers, sortByKey } from "../radix-sort.ts";
import { EvenDeal } from "./even-deal.ts";
import { type Bins, fillBins, smallOf, type Tolerance } from "./fill.ts";
import { Line } from "./line.ts";
import { type Mask, maskOf, rowArea } from "./row-area.ts";

/** Who has which tokens: owner i (a node or a unit) the pieces of rows pieceBegin[i] up to, not including, pieceBegin[i + 1]. */
export interface Sharding {
  readonly pieceBegin: Int32Array;
  readonly pieces: Pieces;
}

/** The pieces of each owner, as people and tests read them. */
export const piecesByOwner = ({ pieceBegin, pieces }: Sharding): Piece[][] =>
  Array.from({ length: pieceBegin.length - 1 }, (_, owner) =>
    Array.from({ length: pieceBegin[owner + 1] - pieceBegin[owner] }, (_, i) => pieceAt(pieces, pieceBegin[owner] + i)),
  );

export const shardings = ["balanced", "contiguous"] as const;
export type ShardingKind = (typeof shardings)[number];

/** Pass 1, who owns which tokens: units, whose pieces are in order of position and never neighbours in one document. */
export function shard(problem: Problem, hierarchy: Hierarchy, kind: ShardingKind): Sharding {
  if (kind === "contiguous") return shardContiguously(problem, hierarchy);
  return shardAmongUnits(problem, hierarchy, shardAmongNodes(problem, hierarchy));
}

/** Even ranges, as the batch lies: tokens stay where they are, and area falls as it may. */
function shardContiguously(problem: Problem, { units, ulysses }: Hierarchy): Sharding {
  const { cuSeqlens } = problem.batch;
  const tokens = tokensOf(problem.batch);
  const ranks = ranksOf(problem);
  const pieces = new PieceList();
  const pieceBegin = new Int32Array(units + 1);
  let document = 0;
  for (let unit = 0; unit < units; unit++) {
    const begin = beginOfPart(tokens, ranks, unit * ulysses);
    const end = beginOfPart(tokens, ranks, (unit + 1) * ulysses);
    while (document < documentsOf(problem.batch) && cuSeqlens[document] < end) {
      pieces.push(document, Math.max(begin, cuSeqlens[document]), Math.min(end, cuSeqlens[document + 1]));
      if (cuSeqlens[document + 1] > end) break;
      document++;
    }
    pieceBegin[unit + 1] = pieces.length;
  }
  return { pieceBegin, pieces: pieces.finish() };
}

/** Where part `part` begins if `tokens` are cut into `parts` whose sizes differ by at most one, the longer ones first. */
export function beginOfPart(tokens: number, parts: number, part: number): number {
  return part * Math.floor(tokens / parts) + Math.min(part, tokens % parts);
}

/**
 * Balanced sharding, first step: equal tokens and equal area for each rank of every node. Cuts are dear here, because
 * what they cause travels on slow links. The pieces of a node are in no particular order.
 */
export function shardAmongNodes(problem: Problem, { unitBegin }: Hierarchy): Sharding {
  const { cuSeqlens } = problem.batch;
  const documents = documentsOf(problem.batch);
  const all = { document: rowNumbers(documents), begin: cuSeqlens.subarray(0, documents), end: cuSeqlens.subarray(1) };
  const unitsOfNode = unitBegin.slice(1).map((end, node) => end - unitBegin[node]);
  const bins = { pieces: new PieceList(documents + 4 * unitsOfNode.length), binBegin: [] };
  const keys = new Uint32Array(documents);
  const dealer = { line: new Line(maskOf(problem)), even: new EvenDeal(problem) };
  deal(dealer, all, rowNumbers(documents), keys, unitsOfNode, toleranceOfNodes, bins);
  return shardingOf(bins);
}

/** Balanced sharding, second step: what a node has, dealt to its units in the same way. */
export function shardAmongUnits(problem: Problem, { unitBegin }: Hierarchy, nodes: Sharding): Sharding {
  const dealer = { line: new Line(maskOf(problem)), even: new EvenDeal(problem) };
  const keys = new Uint32Array(nodes.pieces.begin.length);
  const bins: Bins = { pieces: new PieceList(2 * nodes.pieces.begin.length), binBegin: [] };
  for (let node = 0; node + 1 < unitBegin.length; node++) {
    const units = unitBegin[node + 1] - unitBegin[node];
    const [from, to] = [nodes.pieceBegin[node], nodes.pieceBegin[node + 1]];
    const rows = new Int32Array(to - from);
    for (let i = 0; i < rows.length; i++) rows[i] = from + i;
    if (rows.length === 0) {
      for (let unit = 0; unit < units; unit++) bins.binBegin.push(bins.pieces.length);
      continue;
    }
    deal(dealer, nodes.pieces, rows, keys, new Array<number>(units).fill(1), toleranceOfUnits, bins);
  }
  return inOrder(shardingOf(bins));
}

/**
 * Deals what the nodes of each unit have to them anew, where units are several nodes. What such a unit splits the heads of lies evenly with
 * all of its ranks, whatever each node had of it, so that the rest is even by itself as well.
 */
export function shardWithinUnits(
  problem: Problem,
  ranks: Hierarchy,
  { ulysses, units }: Hierarchy,
  nodes: Sharding,
): Sharding {
  const dealer = { line: new Line(maskOf(problem)), even: new EvenDeal(problem) };
  const keys = new Uint32Array(nodes.pieces.begin.length);
  const bins: Bins = { pieces: new PieceList(2 * nodes.pieces.begin.length), binBegin: [] };
  let node = 0;
  for (let unit = 0; unit < units; unit++) {
    const firstNode = node;
    while (ranks.unitBegin[node] < (unit + 1) * ulysses) node++;
    const weights = Array.from({ length: node - firstNode }, (_, i) => {
      return ranks.unitBegin[firstNode + i + 1] - ranks.unitBegin[firstNode + i];
    });
    const first = nodes.pieceBegin[firstNode];
    const rows = rowNumbers(nodes.pieceBegin[node] - first).map((row) => first + row);
    if (rows.length === 0) bins.binBegin.push(...weights.map(() => bins.pieces.length));
    else deal(dealer, nodes.pieces, rows, keys, weights, toleranceOfNodes, bins);
  }
  return shardingOf(bins);
}

/** What a little imbalance saves in cuts is worth it. Both levels together stay within 1 % of tokens and 1.02 of area. */
const toleranceOfNodes: Tolerance = { tokens: 0.004, area: 0.008 };
const toleranceOfUnits: Tolerance = { tokens: 0.005, area: 0.01 };

/** From the one that cuts least to the one that is exact, which does not mix small pieces. */
const attempts = [
  { scale: 1, mixed: true },
  { scale: 0.5, mixed: true },
  { scale: 0.2, mixed: true },
  { scale: 0, mixed: false },
] as const;

/** What deals pieces, kept from one deal to the next for its memory. */
interface Dealer {
  readonly line: Line;
  readonly even: EvenDeal;
}

/**
 * Deals rows of pieces to bins within the tolerance; `keys` is room to sort them. Where bins are filled one after the other, the last
 * gets what is left, so the others may have to keep closer to their shares.
 */
function deal(
  { line, even }: Dealer,
  pieces: Pieces,
  rows: Int32Array,
  keys: Uint32Array,
  weights: readonly number[],
  tolerance: Tolerance,
  bins: Bins,
): void {
  const { mask } = line;
  sortByMeanArea(mask, pieces, rows, keys);
  if (even.deal(pieces, rows, weights, tolerance, tolerance === toleranceOfUnits, bins)) return;
  const weight = weights.reduce((sum, of) => sum + of, 0);
  const small = smallOf(mask, pieces, rows, Math.min(...weights) / weight);
  const firstPiece = bins.pieces.length;
  const firstBin = bins.binBegin.length;
  for (const { scale, mixed } of attempts) {
    bins.pieces.length = firstPiece;
    bins.binBegin.length = firstBin;
    line.lay(pieces, rows, mixed ? small : { tokens: 0, area: 0 }, weights.length);
    fillBins(line, weights, { tokens: scale * tolerance.tokens, area: scale * tolerance.area }, bins);
    if (isWithin(mask, bins, firstBin, weights, tolerance)) return;
  }
}

/** Sorts rows by mean area per token, those of equal mean by position. */
function sortByMeanArea(mask: Mask, { document, begin, end }: Pieces, rows: Int32Array, keys: Uint32Array): void {
  for (const row of rows) keys[row] = begin[row];
  sortByKey(rows, keys);
  // A mean is a whole number or half of one.
  for (const row of rows) {
    keys[row] = (2 * rowArea(mask, document[row], begin[row], end[row])) / (end[row] - begin[row]);
  }
  sortByKey(rows, keys);
}

function isWithin(
  mask: Mask,
  { pieces, binBegin }: Bins,
  firstBin: number,
  weights: readonly number[],
  tolerance: Tolerance,
): boolean {
  const tokens = new Float64Array(weights.length);
  const area = new Float64Array(weights.length);
  let weight = 0;
  let allTokens = 0;
  let allArea = 0;
  for (let bin = 0; bin < weights.length; bin++) {
    const past = bin + 1 < weights.length ? binBegin[firstBin + bin + 1] : pieces.length;
    for (let row = binBegin[firstBin + bin]; row < past; row++) {
      tokens[bin] += pieces.end[row] - pieces.begin[row];
      area[bin] += rowArea(mask, pieces.document[row], pieces.begin[row], pieces.end[row]);
    }
    weight += weights[bin];
    allTokens += tokens[bin];
    allArea += area[bin];
  }
  const meanTokens = allTokens / weight;
  const meanArea = allArea / weight;
  return weights.every(
    (of, bin) =>
      Math.abs(tokens[bin] - of * meanTokens) <= tolerance.tokens * of * meanTokens &&
      area[bin] <= (1 + tolerance.area) * of * meanArea,
  );
}

const shardingOf = ({ pieces, binBegin }: Bins): Sharding => ({
  pieceBegin: Int32Array.of(...binBegin, pieces.length),
  pieces: pieces.finish(),
});

/** Sorts each owner's pieces by position and joins neighbours. */
function inOrder({ pieceBegin, pieces }: Sharding): Sharding {
  const { document, begin, end } = pieces;
  const keys = Uint32Array.from(begin);
  const order = rowNumbers(begin.length);
  const owners = pieceBegin.length - 1;
  const joined = new PieceList(begin.length + 1);
  const joinedBegin = new Int32Array(owners + 1);
  for (let owner = 0; owner < owners; owner++) {
    sortByKey(order.subarray(pieceBegin[owner], pieceBegin[owner + 1]), keys);
    for (let i = pieceBegin[owner]; i < pieceBegin[owner + 1]; i++) {
      joined.pushJoined(joinedBegin[owner], document[order[i]], begin[order[i]], end[order[i]]);
    }
    joinedBegin[owner + 1] = joined.length;
  }
  return { pieceBegin: joinedBegin, pieces: joined.finish() };
}
