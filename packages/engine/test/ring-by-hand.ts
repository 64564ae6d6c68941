import { clusterOf } from "@hsap/cluster";
import {
  evenRanges,
  layoutOf,
  type Pass,
  type Problem,
  type Schedule,
  ScheduleBuilder,
  tilesBetween,
} from "@hsap/schedule";
import { packedBatch, tokensOf } from "@hsap/workload";

export interface SmallProblem {
  readonly lengths: readonly number[];
  readonly ranks: number;
  readonly pass: Pass;
  readonly heads?: number;
  readonly kvHeads?: number;
  readonly headDim?: number;
  readonly dtype?: "fp32" | "bf16";
  readonly mask?: "causal" | "full";
}

export function smallProblem(given: SmallProblem): Problem {
  const { lengths, ranks, pass, heads = 4, kvHeads = 2, headDim = 64, dtype = "fp32", mask = "causal" } = given;
  const shape = { heads, kvHeads, headDim, dtype };
  return { batch: packedBatch(lengths), shape, cluster: clusterOf({ ranks }), mask, pass };
}

/**
 * Ring attention as a schedule written for these tests: blocks of keys and values go round, and backward each rank sums the
 * gradients of every other rank's keys, sends them home at the end, and adds those that it gets.
 */
export function ringByHand(problem: Problem): Schedule {
  const ranks = problem.cluster.ranks;
  const parts = evenRanges(tokensOf(problem.batch), ranks);
  const builder = new ScheduleBuilder(problem, "ring-by-hand", { ring: ranks }, layoutOf(parts.map((part) => [part])));
  const { block } = builder;
  for (let rank = 0; rank < ranks; rank++) {
    const own = builder.rank(rank);
    const elsewhere = parts.map((_, source) => source).filter((source) => source !== rank);
    for (let step = 0; step < ranks; step++) {
      const source = (rank - step + ranks) % ranks;
      const next = (source - 1 + ranks) % ranks;
      const keyValue = (of: number) => [block("k", parts[of]), block("v", parts[of])];
      if (step + 1 < ranks) {
        own.exchange("p2p", [
          { to: (rank + 1) % ranks, blocks: keyValue(source) },
          { from: (rank - 1 + ranks) % ranks, blocks: keyValue(next) },
        ]);
      }
      const kvPart = source === rank ? 0 : 1 + rank;
      for (const part of problem.pass === "backward" && kvPart > 0 ? ["dk", "dv"] : []) {
        own.reduce(block(part, parts[source], undefined, kvPart));
      }
      for (const tile of tilesBetween(problem.batch, problem.mask, parts[rank], parts[source])) {
        own.attend(tile, { kvPart });
      }
    }
    if (problem.pass === "forward") continue;
    const gradients = (of: number, by: number) => ["dk", "dv"].map((name) => block(name, parts[of], undefined, 1 + by));
    own.exchange("p2p", [
      ...elsewhere.map((to) => ({ to, blocks: gradients(to, rank) })),
      ...elsewhere.map((from) => ({ from, blocks: gradients(rank, from) })),
    ]);
    for (const name of ["dk", "dv"]) {
      const sources = elsewhere.map((from) => block(name, parts[rank], undefined, 1 + from));
      own.reduce(block(name, parts[rank]), ...sources);
    }
  }
  return builder.finish();
}
