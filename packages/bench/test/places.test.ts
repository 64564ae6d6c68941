import { clusterOf, presetCluster } from "@hsap/cluster";
import { choosePlan, hsap } from "@hsap/compiler";
import type { Problem } from "@hsap/schedule";
import { simulate } from "@hsap/simulator";
import { packedBatch } from "@hsap/workload";
import { describe, expect, it } from "vitest";
import { expectedOf, wrongOutputs } from "../src/accuracy.ts";
import { packProblem } from "../src/comparison/pack-comparison.ts";
import { strategyNamed } from "../src/strategies.ts";
import { verifyCase } from "../src/verification/verified-case.ts";

interface Sketch {
  readonly name: string;
  readonly lengths: readonly number[];
  readonly ranks: number;
  readonly ranksPerNode: number;
  readonly ulysses: number;
  readonly kvHeads: number;
  readonly dtype: "fp32" | "bf16";
}

const sketches: readonly Sketch[] = [
  {
    name: "one document on nine nodes",
    ...{ lengths: [301], ranks: 9, ranksPerNode: 1, ulysses: 1, kvHeads: 4, dtype: "fp32" },
  },
  {
    name: "two documents on four nodes of two ranks that split heads",
    ...{ lengths: [211, 97, 5], ranks: 8, ranksPerNode: 2, ulysses: 2, kvHeads: 2, dtype: "fp32" },
  },
  {
    name: "documents on nodes of three ranks, each rank by itself",
    ...{ lengths: [140, 63, 30], ranks: 6, ranksPerNode: 3, ulysses: 1, kvHeads: 1, dtype: "fp32" },
  },
  {
    name: "bf16 on six nodes, more lanes than kv heads",
    ...{ lengths: [333, 40], ranks: 12, ranksPerNode: 2, ulysses: 2, kvHeads: 1, dtype: "bf16" },
  },
];

describe.each(["keys", "grid"])("hsap with place=%s", (place) => {
  it.each(sketches)("is right against float64 and gives the same bits again: $name", async (sketch) => {
    const { lengths, ranks, ranksPerNode, ulysses, kvHeads, dtype } = sketch;
    const problem: Problem = {
      batch: packedBatch(lengths),
      shape: { heads: 4, kvHeads, headDim: 16, dtype },
      cluster: clusterOf({ ranks, ranksPerNode }),
      mask: "causal",
      pass: "forward",
    };
    const seed = 11;
    const { errors, ...checks } = await verifyCase(hsap, problem, {
      degrees: { ulysses, sap: ranks / ulysses },
      options: { place, split: "nodes" },
      seed,
      expected: await expectedOf(problem, seed, 1),
      probes: 1,
    });
    expect(wrongOutputs(errors, dtype)).toEqual([]);
    expect(checks).toMatchObject({ findings: [], contaminatedPairs: 0, blindProbes: 0, unstablePasses: 0 });
  });
});

describe("one document over eight nodes with as many kv heads as query heads", () => {
  const degrees = { ulysses: 8, sap: 8 };
  const problem = (pass: Problem["pass"]): Problem => ({
    batch: packedBatch([64 * 4096]),
    shape: { heads: 64, kvHeads: 64, headDim: 128, dtype: "bf16" },
    cluster: clusterOf({ ranks: 64, ranksPerNode: 8, from: presetCluster("h100-400g") }),
    mask: "causal",
    pass,
  });

  it.each(["forward", "backward"] as const)(
    "takes less with tiles in two dimensions, about as predicted: %s",
    (pass) => {
      const us = (place: string) => simulate(hsap.compile(problem(pass), degrees, { place })).trace.durationUs;
      const { best } = choosePlan(problem(pass), degrees);
      expect(best.place).toBe("grid");
      expect(us("auto")).toBeLessThan(0.95 * us("queries"));
      expect(Math.abs(best.prediction.us / us("auto") - 1)).toBeLessThan(0.05);
    },
  );
});

describe("one document on two nodes", () => {
  it("is simulated faster than an all-gather of its keys: those inside nodes are computed with while others cross", () => {
    const problem = packProblem("single-16");
    const us = (name: string) => {
      const strategy = strategyNamed(name);
      return simulate(strategy.compile(problem, strategy.defaultDegrees(problem))).trace.durationUs;
    };
    expect(us("hsap")).toBeLessThan(0.99 * us("allgather"));
  });
});
