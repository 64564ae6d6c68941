import { ring } from "@hsap/baselines";
import { clusterOf } from "@hsap/cluster";
import { isCommunication, lower, opAt, type Problem, type Schedule, type Trace } from "@hsap/schedule";
import { packedBatch } from "@hsap/workload";
import { describe, expect, test } from "vitest";
import { longestChainMs } from "../src/longest-chain.ts";
import { criticalPathMs, processorTimeOf } from "../src/processor-time.ts";

/** Ring attention over one document of 8 tokens on 4 ranks: rank r computes r + 1 tiles, one in each of its stages. */
const problem: Problem = {
  batch: packedBatch([8]),
  shape: { heads: 1, kvHeads: 1, headDim: 64, dtype: "fp32" },
  cluster: clusterOf({ ranks: 4, ranksPerNode: 2 }),
  mask: "causal",
  pass: "forward",
};
const schedule = ring.compile(problem, { ring: 4 });

/** A trace in which each tile of rank r took `tileUs(r, nth tile)` and each transfer 0. */
function traceOf({ opBegin, ops }: Schedule, tileUs: (rank: number, tile: number) => number): Trace {
  const busyUs = new Float64Array(ops.kind.length);
  for (let rank = 0; rank < opBegin.length - 1; rank++) {
    let tile = 0;
    for (let row = opBegin[rank]; row < opBegin[rank + 1]; row++) {
      if (!isCommunication(opAt(schedule, row).kind)) busyUs[row] = tileUs(rank, tile++);
    }
  }
  return { origin: "measured", beginUs: busyUs, endUs: busyUs, busyUs, durationUs: 0 };
}

const chain = (trace: Trace) => longestChainMs(schedule, lower(schedule), trace);

describe("processor time of ring attention on one causal document", () => {
  const even = traceOf(schedule, () => 1000);

  test("is the sum of a rank's tiles", () => {
    expect(processorTimeOf(schedule, even)).toEqual({ computation: [1, 2, 3, 4], communication: [0, 0, 0, 0] });
  });

  test("gives a critical path of the slowest rank in every stage, though no rank is slowest in all", () => {
    // Rank 3 computes in all 4 stages. Its own time is 4 ms; one slow tile elsewhere in stage 0 lengthens the path.
    expect(criticalPathMs(schedule, even)).toBe(4);
    const slowStart = traceOf(schedule, (rank, tile) => (rank === 0 && tile === 0 ? 3000 : 1000));
    expect(criticalPathMs(schedule, slowStart)).toBe(6);
  });

  test("gives a longest chain that no other rank's tiles lengthen, as forwarded blocks wait for no tile", () => {
    const slowStart = traceOf(schedule, (rank, tile) => (rank === 0 && tile === 0 ? 3000 : 1000));
    expect(chain(even)).toBe(4);
    expect(chain(slowStart)).toBe(4);
  });

  test("never has a critical path below the longest chain, nor a chain below the busiest rank", () => {
    for (let seed = 1; seed <= 20; seed++) {
      const trace = traceOf(schedule, (rank, tile) => ((seed * 7919 + rank * 104729 + tile * 1299709) % 997) + 1);
      const busiest = Math.max(...processorTimeOf(schedule, trace).computation);
      expect(chain(trace)).toBeGreaterThanOrEqual(busiest - 1e-9);
      expect(criticalPathMs(schedule, trace)).toBeGreaterThanOrEqual(chain(trace) - 1e-9);
    }
  });
});

describe("the longest chain", () => {
  test("waits for partial sums that another rank computes first", () => {
    const backward = ring.compile({ ...problem, pass: "backward" }, { ring: 4 });
    const trace = traceOf(backward, () => 0);
    const busyUs = new Float64Array(backward.ops.kind.length);
    for (let row = 0; row < busyUs.length; row++) {
      if (opAt(backward, row).kind === "attend") busyUs[row] = 1000;
    }
    const total = longestChainMs(backward, lower(backward), { ...trace, busyUs });
    expect(total).toBeGreaterThanOrEqual(4);
  });
});
