import { ring } from "@hsap/baselines";
import { clusterOf } from "@hsap/cluster";
import { lower, opAt, type Problem, type Schedule, type Trace } from "@hsap/schedule";
import { packedBatch } from "@hsap/workload";
import { describe, expect, test } from "vitest";
import { criticalPathMs, longestChainMs } from "../src/critical-path.ts";
import { processorTimeOf } from "../src/processor-time.ts";
import { strategyNamed } from "../src/strategies.ts";

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
      if (ops.peer[row] < 0) busyUs[row] = tileUs(rank, tile++);
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

  test("gives a critical path through the slowest rank of each stage", () => {
    expect(criticalPathMs(schedule, even)).toBe(4);
    // A slow first tile on rank 0 holds up rank 1 at the next group, and through it all the others.
    const slowStart = traceOf(schedule, (rank, tile) => (rank === 0 && tile === 0 ? 3000 : 1000));
    expect(criticalPathMs(schedule, slowStart)).toBeGreaterThan(4);
  });

  test("lets nobody wait for a rank that sends nothing to it", () => {
    // Two ranks with a document each: no transfers under hsap, so the slower rank alone is the path.
    const apart = strategyNamed("hsap").compile(
      { ...problem, batch: packedBatch([4, 4]), cluster: clusterOf({ ranks: 2 }) },
      { ulysses: 1, sap: 2 },
    );
    const trace = traceOf(apart, (rank) => (rank === 0 ? 5000 : 2000));
    expect(criticalPathMs(apart, trace)).toBe(5);
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
