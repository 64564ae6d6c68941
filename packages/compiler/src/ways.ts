import { nodesOf, ranksPerNode } from "@hsap/cluster";
import { type Degrees, type Problem, ranksOf } from "@hsap/schedule";
import { Bounds } from "./cost/bound.ts";
import { type Hierarchy, hierarchyOf, ulyssesDegrees } from "./hierarchy.ts";
import type { Planner } from "./plan.ts";
import type { Sharding } from "./shard/shard.ts";

/** A way to divide heads and sequence. */
export interface Way {
  readonly hierarchy: Hierarchy;
  /** Whose heads are split if units have several ranks, see `HeadSplitter`. */
  readonly splitAbove: number;
  /** No plan of this way takes less, in microseconds, but for keys that travel inside nodes. */
  readonly boundUs: number;
  /** Hardly any plan of this way is predicted to take less. */
  readonly atLeastUs: number;
  /** What of each node is split; undefined where nothing is. */
  readonly split: Sharding | undefined;
  /** Fewer ranks of a node split heads than can: seldom better, and only where links are slow beside devices. */
  readonly isUnusual: boolean;
}

/** Whether two ways divide what a node has in the same way. A lower threshold splits all that a higher one does. */
export function isDividedAlike(way: Way, other: Way, node: number): boolean {
  if (way.hierarchy.ulysses !== other.hierarchy.ulysses || !way.split || !other.split) return false;
  const pieces = ({ pieceBegin }: Sharding) => pieceBegin[node + 1] - pieceBegin[node];
  return pieces(way.split) === pieces(other.split);
}

/** Whether a way splits heads of more documents than one of two ways, and of fewer than the other, by as many ranks. */
export function isBetween(way: Way, one: Way, other: Way): boolean {
  const isKin = [way, one, other].every((of) => !of.split || of.hierarchy.ulysses === way.hierarchy.ulysses);
  if (!isKin || !way.split) return false;
  const pieces = ({ split }: Way) => split?.pieces.begin.length ?? 0;
  const [fewer, more] = pieces(one) < pieces(other) ? [one, other] : [other, one];
  return pieces(fewer) < pieces(way) && pieces(way) < pieces(more);
}

/**
 * The points of the search space, those first that are expected to take least. Each is here once: where documents are split alike, or
 * none is, ways are one.
 *
 * - Heads of no document are split: sequence parallelism alone.
 * - As many ranks as can inside a node split heads of some documents, or of all, as USP does. Where these are more than kv heads, also
 *   fewer ranks, as each lane that has a copy of a kv head sends it over the node's link; these ways stand last.
 * - All ranks split heads, over all nodes: of all documents, that is DeepSpeed-Ulysses. With many kv heads, keys that cross to
 *   other nodes cost more than all-to-alls over them do.
 *
 * @param degrees the degrees to keep to; all of the above if left out.
 */
export function waysOf(planner: Planner, degrees: Degrees | undefined): Way[] {
  const { problem, ranks, nodes } = planner;
  const bounds = new Bounds(problem, ranks, nodes);
  const ways = new Map<string, Way & { readonly expectedUs: number }>();
  const [usual, unusual] = splitDegrees(problem, degrees);
  for (const ulysses of [...usual, ...unusual]) {
    const hierarchy = hierarchyOf(problem, { ulysses, sap: ranksOf(problem) / ulysses });
    for (const splitAbove of ulysses === 1 ? [0] : thresholds) {
      // More documents are split with each lower threshold, so equally many are the same.
      const split = ulysses === 1 ? undefined : planner.split(splitAbove);
      const pieces = split === undefined ? 0 : split.split.pieces.begin.length;
      const name = pieces === 0 ? "whole" : `${ulysses} ${pieces}`;
      if (ways.has(name)) continue;
      const isSplit = split !== undefined && pieces > 0;
      const boundUs = isSplit ? bounds.ofSplit(hierarchy, split) : bounds.ofWhole();
      const { least, expected } = slackOf(isSplit, hierarchy, splitAbove, problem);
      ways.set(name, {
        hierarchy: isSplit || degrees !== undefined ? hierarchy : ranks,
        splitAbove,
        split: isSplit ? split.split : undefined,
        isUnusual: unusual.includes(ulysses),
        boundUs,
        atLeastUs: least * boundUs,
        expectedUs: expected * boundUs,
      });
    }
  }
  return [...ways.values()].sort((a, b) => Number(a.isUnusual) - Number(b.isUnusual) || a.expectedUs - b.expectedUs);
}

/** Heads are split of documents that several nodes hold, of those heavier than so many ranks' shares, or of all. */
const thresholds = [Number.POSITIVE_INFINITY, 1, 0.5, 0];

/**
 * How many times its bound a plan takes: hardly less than `least`, and `expected` more or less. Bounds know all-to-alls and tiles well,
 * and little of how keys travel.
 */
function slackOf(isSplit: boolean, { ulysses }: Hierarchy, splitAbove: number, { cluster, shape }: Problem) {
  if (!isSplit) return { least: hasFewKvHeads(shape) ? 1 : 1.03, expected: 1.5 };
  if (splitAbove < Number.POSITIVE_INFINITY) return { least: 1.02, expected: 1.06 };
  return ulysses > ranksPerNode(cluster) ? { least: 1, expected: 1.3 } : { least: 1.04, expected: 1.15 };
}

/** With few kv heads, keys are so small that a plan without a split comes near its bound. */
export const hasFewKvHeads = ({ heads, kvHeads }: Problem["shape"]): boolean => heads >= 32 * kvHeads;

/**
 * By how many ranks heads may be split, usually and unusually. As many inside a node as can do so do it best if there are kv heads
 * for all of them.
 */
function splitDegrees(problem: Problem, degrees: Degrees | undefined): readonly [number[], number[]] {
  if (degrees !== undefined) return [[hierarchyOf(problem, degrees).ulysses], []];
  const { cluster, shape } = problem;
  const possible = ulyssesDegrees(problem);
  const inside = possible.filter((ulysses) => ulysses <= ranksPerNode(cluster));
  const overNodes = nodesOf(cluster) > 1 && possible.includes(cluster.ranks) ? [cluster.ranks] : [];
  const usual = [...new Set([1, inside[inside.length - 1], ...overNodes])];
  return [usual, inside.filter((ulysses) => ulysses >= shape.kvHeads && !usual.includes(ulysses))];
}
