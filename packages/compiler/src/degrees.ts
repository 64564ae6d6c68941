import type { Level } from "@hsap/cluster";
import { areaOf, bytesPerElement, type Degrees, type Problem, ranksOf } from "@hsap/schedule";
import { tokensOf } from "@hsap/workload";
import { type Hierarchy, hierarchyOf, ulyssesDegrees } from "./hierarchy.ts";
import type { Piece } from "./piece.ts";
import { maskOf, rowArea } from "./row-area.ts";
import { piecesByOwner, shardAmongNodes, shardAmongUnits } from "./shard.ts";

/** Every pair of degrees that is possible for the problem: heads split inside units, the sequence between them. */
export function candidateDegrees(problem: Problem): Degrees[] {
  return ulyssesDegrees(problem).map((ulysses) => ({ ulysses, sap: ranksOf(problem) / ulysses }));
}

/**
 * The candidate with the least predicted time when balanced; among equals the one with the fewest ranks in a unit. The
 * time is rough: the all-to-alls of units, which nothing overlaps, and then the longest of three things that do overlap:
 * computing (the unit with the most area), keys and values received inside nodes, and those received from other nodes,
 * spread evenly over the ranks of the node.
 */
export function chooseDegrees(problem: Problem): Degrees {
  const [simplest, ...others] = candidateDegrees(problem);
  if (others.length === 0) return simplest;
  // Nodes get the same tokens whatever the degree.
  const nodes = shardAmongNodes(problem, hierarchyOf(problem, simplest));
  const predict = (degrees: Degrees) => {
    const hierarchy = hierarchyOf(problem, degrees);
    return (
      allToAllUs(problem, degrees) +
      overlappedUs(problem, hierarchy, piecesByOwner(nodes), piecesByOwner(shardAmongUnits(problem, hierarchy, nodes)))
    );
  };
  let best = simplest;
  let bestUs = predict(simplest);
  for (const degrees of others) {
    // No sharding computes faster than an even one, so most degrees need not be tried.
    if (allToAllUs(problem, degrees) + computeUs(problem, areaOf(problem) / ranksOf(problem)) >= bestUs) continue;
    const us = predict(degrees);
    if (us < bestUs) [best, bestUs] = [degrees, us];
  }
  return best;
}

/** Time of the all-to-alls. Forward q, k and v go in and o comes out; backward do goes in and dq, dk and dv come out. */
function allToAllUs({ batch, cluster, shape }: Problem, { ulysses }: Degrees): number {
  if (ulysses === 1) return 0;
  const [{ bandwidthGBps, latencyUs }] = cluster.levels;
  const tokenBytes = (2 * shape.heads + 2 * shape.kvHeads) * shape.headDim * bytesPerElement[shape.dtype];
  const bytes = (((ulysses - 1) / ulysses) * tokensOf(batch) * tokenBytes) / cluster.ranks;
  return bytes / (1e3 * bandwidthGBps) + 2 * latencyUs;
}

/** Time in which a device computes `area` for all heads. */
function computeUs({ cluster, shape, pass }: Problem, area: number): number {
  const flops = 4 * area * shape.heads * shape.headDim * (pass === "backward" ? 2.5 : 1);
  return flops / (1e6 * cluster.device.peakTflops * attainedShareOfPeak);
}

function overlappedUs(
  problem: Problem,
  { ulysses, unitBegin }: Hierarchy,
  nodes: readonly (readonly Piece[])[],
  sharding: readonly (readonly Piece[])[],
): number {
  const { cluster, shape, pass } = problem;
  const mask = maskOf(problem);
  const most = (values: readonly number[]) => values.reduce((a, b) => Math.max(a, b), 0);
  const area = most(
    sharding.map((pieces) =>
      pieces.reduce((sum, { document, begin, end }) => sum + rowArea(mask, document, begin, end), 0),
    ),
  );
  const ranksOfNode = (node: number) => (unitBegin[node + 1] - unitBegin[node]) * ulysses;
  const within = most(sharding.map((pieces) => tokensReceived(problem, pieces) / ulysses));
  const between = most(nodes.map((pieces, node) => tokensReceived(problem, pieces) / ranksOfNode(node)));
  // In a backward pass as many gradients return as keys and values came.
  const keyBytes = 2 * shape.kvHeads * shape.headDim * bytesPerElement[shape.dtype] * (pass === "backward" ? 2 : 1);
  const transferUs = (tokens: number, level: Level) => (tokens * keyBytes) / (1e3 * level.bandwidthGBps);
  return Math.max(
    computeUs(problem, area / ulysses),
    transferUs(within, cluster.levels[0]),
    transferUs(between, cluster.levels[cluster.levels.length - 1]),
  );
}

/** Attention kernels attain about 60 % of a device's peak on long documents (FlashAttention-3 forward on H100: 584 to 679 of 989). */
const attainedShareOfPeak = 0.6;

/** Keys that the owner of `pieces` needs and does not own: of each document up to its last row there, or all of it with a full mask. */
function tokensReceived({ batch: { cuSeqlens }, mask }: Problem, pieces: readonly Piece[]): number {
  const lastRow = new Map<number, number>();
  let owned = 0;
  for (const { document, begin, end } of pieces) {
    owned += end - begin;
    const seen = (mask === "full" ? cuSeqlens[document + 1] : end) - cuSeqlens[document];
    lastRow.set(document, Math.max(lastRow.get(document) ?? 0, seen));
  }
  let received = -owned;
  for (const seen of lastRow.values()) received += seen;
  return received;
}
