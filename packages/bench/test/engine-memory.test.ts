import { clusterOf } from "@hsap/cluster";
import { run } from "@hsap/engine";
import { type Dtype, type Problem, peakBytesOf } from "@hsap/schedule";
import { packedBatch } from "@hsap/workload";
import { describe, expect, it } from "vitest";
import { compileWith } from "../src/compiled.ts";
import { strategies } from "../src/strategies.ts";

// Arenas of a megabyte and more, so that the page at the end of each does not matter.
const lengths = [900, 31, 450, 131, 24];

describe("memory that a run touches", () => {
  it.each(
    strategies.flatMap((strategy) =>
      (["fp32", "bf16"] as const).map((dtype) => [strategy.name, dtype, strategy] as const),
    ),
  )("is what the schedule predicts: %s in %s", async (name, dtype, strategy) => {
    const problem = problemOf(name === "reference" ? 1 : 4, dtype);
    const { outputs: saved } = await run(compileWith(strategy, problem).schedule);
    for (const pass of ["forward", "backward"] as const) {
      const { schedule, lowered } = compileWith(strategy, { ...problem, pass });
      const predicted = peakBytesOf(schedule);
      // With aliases nothing that is lent takes memory.
      const { arenaBytes, residentBytes } = await run(schedule, { lowered, saved, handOver: "copy" });
      expect([...arenaBytes]).toEqual([...predicted]);
      for (const [rank, bytes] of residentBytes.entries()) {
        expect(predicted[rank]).toBeGreaterThan(2 ** 18);
        expect(Math.abs(bytes / predicted[rank] - 1), `${pass}, rank ${rank}`).toBeLessThanOrEqual(0.05);
      }
    }
  });

  it("is half as much for inputs in bf16", async () => {
    const [ring] = strategies.filter(({ name }) => name === "ring");
    const arenaOf = async (dtype: Dtype) => {
      const { schedule, lowered } = compileWith(ring, problemOf(4, dtype));
      return (await run(schedule, { lowered, handOver: "copy" })).residentBytes[0];
    };
    // q, k, v and two received blocks of keys and values in half the bytes, o and lse in as many.
    expect((await arenaOf("bf16")) / (await arenaOf("fp32"))).toBeLessThan(0.75);
  });
});

function problemOf(ranks: number, dtype: Dtype): Problem {
  return {
    batch: packedBatch(lengths),
    shape: { heads: 4, kvHeads: 4, headDim: 64, dtype },
    cluster: clusterOf({ ranks, ranksPerNode: Math.min(ranks, 2) }),
    mask: "causal",
    pass: "forward",
  };
}
