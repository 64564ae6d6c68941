import { clusterOf } from "@hsap/cluster";
import { run } from "@hsap/engine";
import type { Problem } from "@hsap/schedule";
import { packedBatch } from "@hsap/workload";
import { describe, expect, it } from "vitest";
import { compileWith } from "../src/compiled.ts";
import { strategies } from "../src/strategies.ts";

describe("a strategy's results", () => {
  it.each(strategies.map((strategy) => [strategy.name, strategy] as const))(
    "have the same bits on 1, 2, 3 and 5 threads a rank: %s",
    async (name, strategy) => {
      const problem: Problem = {
        batch: packedBatch([1031, 7, 1, 334]),
        shape: { heads: 8, kvHeads: 4, headDim: 48, dtype: "fp32" },
        cluster: clusterOf({ ranks: name === "reference" ? 1 : 4, ranksPerNode: name === "reference" ? 1 : 2 }),
        mask: "causal",
        pass: "forward",
      };
      const { outputs: saved } = await run(compileWith(strategy, problem).schedule);
      for (const pass of ["forward", "backward"] as const) {
        const { schedule, lowered } = compileWith(strategy, { ...problem, pass });
        const digests = new Set<string>();
        for (const threadsPerRank of [1, 2, 3, 5])
          digests.add((await run(schedule, { lowered, saved, threadsPerRank })).digest);
        expect(digests.size).toBe(1);
      }
    },
  );
});
