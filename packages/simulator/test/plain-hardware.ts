import { type Cluster, clusterOf, parseCluster } from "@hsap/cluster";
import {
  evenRanges,
  type GroupKind,
  layoutOf,
  type Pass,
  type Problem,
  type Schedule,
  ScheduleBuilder,
  tilesBetween,
} from "@hsap/schedule";
import { packedBatch, tokensOf } from "@hsap/workload";
import type { Communication, Hardware, KernelPass } from "../src/index.ts";

/** A device of 1 TFLOP/s and 1000 GB/s; links of 100 GB/s in 2 us inside a node, 10 GB/s in 5 us between nodes. */
export function plainCluster(ranks: number, ranksPerNode = ranks): Cluster {
  const from = parseCluster(
    `{ name: plain, device: { name: plain, dtype: bf16, peakTflops: 1, memoryBandwidthGBps: 1000 }, levels: [
       { name: node, size: 8, bandwidthGBps: 100, latencyUs: 2 },
       { name: network, size: 1024, bandwidthGBps: 10, latencyUs: 5 }] }`,
    "plain",
  );
  return clusterOf({ ranks, ranksPerNode, from });
}

/** A kernel without any overhead: a tile of n pairs and h heads takes 4 * n * h * headDim / 1e6 us. */
export const idealPass: KernelPass = {
  shareOfPeak: 1,
  tileRows: 1,
  tileColumns: 1,
  overheadTokens: 0,
  launchUs: 0,
  emptyBlockUs: 0,
  hostUs: 0,
  queryPasses: 0,
  keyPasses: 0,
  accumulatePasses: 0,
};

export const idealLibrary: Communication = {
  launchUs: 0,
  collectiveHostUs: 0,
  p2pHostUs: 0,
  slowdown: 1,
  ranksPerNic: 1,
  hopUs: [0, 0],
  pairShare: [1, 1],
  mutualShare: [1, 1],
  collectives: {},
};

/** Hardware that costs nothing but operations, bytes and the latency of links. */
export function idealHardware(pass: Partial<KernelPass> = {}, library: Partial<Communication> = {}): Hardware {
  const both = { ...idealPass, ...pass };
  return {
    devices: ["plain"],
    kernels: { ideal: { forward: both, backward: both } },
    memory: { copyShare: 1, launchUs: 0 },
    libraries: { ideal: { ...idealLibrary, ...library } },
  };
}

export function plainProblem(lengths: readonly number[], cluster: Cluster, pass: Pass = "forward"): Problem {
  const shape = { heads: 4, kvHeads: 2, headDim: 64, dtype: "bf16" } as const;
  return { batch: packedBatch(lengths), shape, cluster, mask: "causal", pass };
}

/** Keys and values go round a ring; each piece is attended to while the next arrives. */
export function ringSchedule(problem: Problem): Schedule {
  const ranks = problem.cluster.ranks;
  const owned = evenRanges(tokensOf(problem.batch), ranks);
  const builder = new ScheduleBuilder(problem, "ring", { ring: ranks }, layoutOf(owned.map((range) => [range])));
  const kv = (owner: number) => ["k", "v"].map((name) => builder.block(name, owned[owner]));
  for (let rank = 0; rank < ranks; rank++) {
    const at = (step: number) => (rank - step + ranks) % ranks;
    for (let step = 0; step < ranks; step++) {
      if (step + 1 < ranks) {
        builder.rank(rank).exchange("p2p", [
          { to: (rank + 1) % ranks, blocks: kv(at(step)) },
          { from: at(1), blocks: kv(at(step + 1)) },
        ]);
      }
      for (const tile of tilesBetween(problem.batch, problem.mask, owned[rank], owned[at(step)]))
        builder.rank(rank).attend(tile);
    }
  }
  return builder.finish();
}

/** All keys and values come first, in one group of the given kind; then every rank attends to what it needs. */
export function gatherSchedule(problem: Problem, kind: GroupKind = "allGather"): Schedule {
  const ranks = problem.cluster.ranks;
  const owned = evenRanges(tokensOf(problem.batch), ranks);
  const builder = new ScheduleBuilder(problem, "gather", { gather: ranks }, layoutOf(owned.map((range) => [range])));
  const kv = (owner: number) => ["k", "v"].map((name) => builder.block(name, owned[owner]));
  const all = { begin: 0, end: tokensOf(problem.batch) };
  for (let rank = 0; rank < ranks; rank++) {
    const others = owned.map((_, other) => other).filter((other) => other !== rank);
    builder.rank(rank).exchange(
      kind,
      others.flatMap((other) => [
        { to: other, blocks: kv(rank) },
        { from: other, blocks: kv(other) },
      ]),
    );
    for (const tile of tilesBetween(problem.batch, problem.mask, owned[rank], all)) builder.rank(rank).attend(tile);
  }
  return builder.finish();
}
