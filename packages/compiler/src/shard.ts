import { evenRanges, type Problem, type TokenRange } from "@hsap/schedule";
import { documentAt, documentsOf, tokensOf } from "@hsap/workload";
import { fillBins, type Tolerance, type Work } from "./fill.ts";
import type { Hierarchy } from "./hierarchy.ts";
import { byPosition, joined, type Piece } from "./piece.ts";
import { rowAreaOf } from "./row-area.ts";

/** The tokens of each unit, as pieces in order of position. */
export type Sharding = readonly (readonly Piece[])[];

export const shardings = ["balanced", "contiguous"] as const;
export type ShardingKind = (typeof shardings)[number];

/** Pass 1, who owns which tokens. */
export function shard(problem: Problem, hierarchy: Hierarchy, kind: ShardingKind): Sharding {
  if (kind === "contiguous") return shardContiguously(problem, hierarchy);
  return shardAmongUnits(problem, hierarchy, shardAmongNodes(problem, hierarchy));
}

/** Even ranges, as the batch lies: tokens stay where they are, and area falls as it may. */
function shardContiguously({ batch }: Problem, { units, ulysses }: Hierarchy): Sharding {
  const ranks = evenRanges(tokensOf(batch), units * ulysses);
  return Array.from({ length: units }, (_, unit) =>
    piecesIn(batch, { begin: ranks[unit * ulysses].begin, end: ranks[(unit + 1) * ulysses - 1].end }),
  );
}

/**
 * Balanced sharding, first step: equal tokens and equal area for each rank of every node. Cuts are dear here, because
 * what they cause travels on slow links.
 */
export function shardAmongNodes(problem: Problem, { unitBegin }: Hierarchy): Piece[][] {
  const documents = piecesIn(problem.batch, { begin: 0, end: tokensOf(problem.batch) });
  const unitsOfNode = unitBegin.slice(1).map((end, node) => end - unitBegin[node]);
  return deal(workOf(problem), documents, unitsOfNode, toleranceOfNodes);
}

/** Balanced sharding, second step: what a node has, dealt to its units in the same way. */
export function shardAmongUnits(problem: Problem, { unitBegin }: Hierarchy, nodes: readonly Piece[][]): Sharding {
  return nodes
    .flatMap((pieces, node) =>
      deal(workOf(problem), pieces, new Array(unitBegin[node + 1] - unitBegin[node]).fill(1), toleranceOfUnits),
    )
    .map((pieces) => joined(pieces.sort(byPosition)));
}

const workOf = (problem: Problem): Work => ({ cuSeqlens: problem.batch.cuSeqlens, rowArea: rowAreaOf(problem) });

/** What a little imbalance saves in cuts is worth it. Both levels together stay within 1 % of tokens and 1.02 of area. */
const toleranceOfNodes: Tolerance = { tokens: 0.004, area: 0.008 };
const toleranceOfUnits: Tolerance = { tokens: 0.005, area: 0.01 };

/** Deals pieces to bins within the tolerance. The last bin gets what is left, so the others may have to keep closer to their shares. */
function deal(work: Work, pieces: readonly Piece[], weights: readonly number[], tolerance: Tolerance): Piece[][] {
  let bins: Piece[][] = [];
  for (const { scale, mixed } of attempts) {
    const scaled = { tokens: scale * tolerance.tokens, area: scale * tolerance.area };
    bins = fillBins(work, pieces, weights, { tolerance: scaled, mixed });
    if (isWithin(work, bins, weights, tolerance)) break;
  }
  return bins;
}

/** From the one that cuts least to the one that is exact. */
const attempts = [
  { scale: 1, mixed: true },
  { scale: 0.5, mixed: true },
  { scale: 0.2, mixed: true },
  { scale: 0, mixed: false },
] as const;

function isWithin(
  { rowArea }: Work,
  bins: readonly Piece[][],
  weights: readonly number[],
  tolerance: Tolerance,
): boolean {
  const tokens = bins.map((pieces) => pieces.reduce((sum, { begin, end }) => sum + end - begin, 0));
  const area = bins.map((pieces) =>
    pieces.reduce((sum, { document, begin, end }) => sum + rowArea(document, begin, end), 0),
  );
  const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0);
  const unit = sum(weights);
  const meanTokens = sum(tokens) / unit;
  const meanArea = sum(area) / unit;
  return weights.every(
    (weight, bin) =>
      Math.abs(tokens[bin] - weight * meanTokens) <= tolerance.tokens * weight * meanTokens &&
      area[bin] <= (1 + tolerance.area) * weight * meanArea,
  );
}

/** The documents in a range of tokens, cut at its ends. */
function piecesIn(batch: Problem["batch"], { begin, end }: TokenRange): Piece[] {
  const pieces: Piece[] = [];
  if (begin >= end) return pieces;
  const { cuSeqlens } = batch;
  for (
    let document = documentAt(batch, begin);
    document < documentsOf(batch) && cuSeqlens[document] < end;
    document++
  ) {
    pieces.push({ document, begin: Math.max(begin, cuSeqlens[document]), end: Math.min(end, cuSeqlens[document + 1]) });
  }
  return pieces;
}
