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
  return kind === "contiguous" ? contiguous(problem, hierarchy) : balanced(problem, hierarchy);
}

/** Even ranges, as the batch lies: tokens stay where they are, and area falls as it may. */
function contiguous({ batch }: Problem, { units, ulysses }: Hierarchy): Sharding {
  const ranks = evenRanges(tokensOf(batch), units * ulysses);
  return Array.from({ length: units }, (_, unit) =>
    piecesIn(batch, { begin: ranks[unit * ulysses].begin, end: ranks[(unit + 1) * ulysses - 1].end }),
  );
}

/**
 * Equal tokens and equal area for each unit: first among nodes, where cuts are dear because what they cause travels on
 * slow links, then among the units of each node.
 */
function balanced(problem: Problem, hierarchy: Hierarchy): Sharding {
  const work = { cuSeqlens: problem.batch.cuSeqlens, rowArea: rowAreaOf(problem) };
  let best: Sharding = [];
  for (const tolerances of tolerancesToTry) {
    best = balancedWithin(problem, hierarchy, work, tolerances);
    if (isBalanced(work, best)) break;
  }
  return best;
}

/** Leaving a little imbalance saves cuts. Deviations of nodes and units add up, and the last bin gets all that is left. */
const tolerancesToTry: readonly { readonly nodes: Tolerance; readonly units: Tolerance }[] = [
  { nodes: { tokens: 0.003, area: 0.006 }, units: { tokens: 0.004, area: 0.008 } },
  { nodes: { tokens: 0.001, area: 0.002 }, units: { tokens: 0.002, area: 0.004 } },
  { nodes: { tokens: 0, area: 0 }, units: { tokens: 0, area: 0 } },
];

/** What a sharding may be off by and still count as balanced: tokens within 1 %, area at most 1.02 of the mean. */
const balanceGoal = { tokens: 0.01, area: 0.02 };

function balancedWithin(
  { batch }: Problem,
  { unitBegin }: Hierarchy,
  work: Work,
  tolerances: (typeof tolerancesToTry)[number],
): Sharding {
  const documents = piecesIn(batch, { begin: 0, end: tokensOf(batch) });
  const unitsOfNode = unitBegin.slice(1).map((end, node) => end - unitBegin[node]);
  return fillBins(work, documents, unitsOfNode, tolerances.nodes)
    .flatMap((pieces, node) => fillBins(work, pieces, new Array(unitsOfNode[node]).fill(1), tolerances.units))
    .map((pieces) => joined(pieces.sort(byPosition)));
}

function isBalanced({ rowArea }: Work, sharding: Sharding): boolean {
  const tokens = sharding.map((pieces) => pieces.reduce((sum, { begin, end }) => sum + end - begin, 0));
  const area = sharding.map((pieces) =>
    pieces.reduce((sum, { document, begin, end }) => sum + rowArea(document, begin, end), 0),
  );
  const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;
  const meanTokens = mean(tokens);
  const most = mean(area) * (1 + balanceGoal.area);
  return (
    tokens.every((count) => Math.abs(count - meanTokens) <= balanceGoal.tokens * meanTokens) &&
    area.every((count) => count <= most)
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
