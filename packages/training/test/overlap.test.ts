import { clusterOf, presetCluster } from "@hsap/cluster";
import { type ModelProblem, memoryOf, modelNamed } from "@hsap/model";
import { accountOf, type Degrees, verify } from "@hsap/schedule";
import { simulate } from "@hsap/simulator";
import { fillPack, packedBatch, seededRandom, tokensOf } from "@hsap/workload";
import { describe, expect, it } from "vitest";
import { initialParameters, layerStrategyNamed, ModelStep } from "../src/index.ts";

const model = modelNamed("tiny");
const batch = packedBatch([37, 5, 1, 70, 15]);
const problem: ModelProblem = {
  ...{ model, batch, cluster: clusterOf({ ranks: 8, ranksPerNode: 4 }), dtype: "fp32", lossChunk: 24 },
};

const compiled = (name: string, degrees: Degrees, overlap: boolean, given = problem) =>
  layerStrategyNamed(name).compile({ ...given, overlap }, degrees);

describe("what tensor ranks gather and scatter", () => {
  it.each([
    ["megatron", { tensor: 4, data: 2 }],
    ["ulysses", { tensor: 2, ulysses: 2, data: 2 }],
    ["hsap", { tensor: 2, ulysses: 2, sap: 2 }],
    ["ring", { tensor: 4, ring: 2 }],
  ] as const)("travels beside products with %s %j: the same bytes, the same step", async (name, degrees) => {
    const [apart, beside] = [compiled(name, degrees, false), compiled(name, degrees, true)];
    for (const schedule of Object.values(beside)) expect(verify(schedule)).toEqual([]);
    for (const stage of ["layerForward", "layerBackward"] as const)
      expect(accountOf(beside[stage]).receivedBytes.total).toBe(accountOf(apart[stage]).receivedBytes.total);
    const parameters = initialParameters(model, 3);
    const random = seededRandom(11);
    const ids = Int32Array.from({ length: tokensOf(batch) }, () => Math.floor(random() * model.vocabulary));
    const [given, overlapped] = [
      await new ModelStep(problem, apart).run(parameters, ids),
      await new ModelStep({ ...problem, overlap: true }, beside).run(parameters, ids),
    ];
    expect(Math.abs(overlapped.loss / given.loss - 1)).toBeLessThan(1e-6);
    // Gradients of weights add up tokens in another order.
    for (const [key, gradient] of overlapped.gradients) {
      const other = given.gradients.get(key) as Float32Array;
      const norm = Math.hypot(...other);
      expect(Math.hypot(...gradient.map((value, i) => value - other[i])) / norm, key).toBeLessThan(1e-5);
    }
  });

  it("is left as it is where there is one tensor rank, or tensor ranks are in several nodes", () => {
    const cases = [
      ["ulysses", { ulysses: 4, data: 2 }, 4],
      ["megatron", { tensor: 4, data: 2 }, 2],
    ] as const;
    for (const [name, degrees, ranksPerNode] of cases) {
      const given = { ...problem, cluster: clusterOf({ ranks: 8, ranksPerNode }) };
      expect(compiled(name, degrees, true, given)).toEqual(compiled(name, degrees, false, given));
    }
  });

  it("hides most of its time behind products, and keeps no more", () => {
    const large: ModelProblem = {
      ...{ model: modelNamed("7b"), batch: fillPack(() => 4096, { tokens: 16384 }), dtype: "bf16", lossChunk: 4096 },
      cluster: clusterOf({ ranks: 4, from: presetCluster("h100-400g") }),
    };
    const [apart, beside] = [false, true].map((overlap) => compiled("megatron", { tensor: 4 }, overlap, large));
    for (const stage of ["layerForward", "layerBackward"] as const) {
      const [before, after] = [apart, beside].map((step) => simulate(step[stage]).trace.durationUs);
      expect(after).toBeLessThan(0.95 * before);
    }
    expect(memoryOf(large, beside).map(({ activations }) => activations)).toEqual(
      memoryOf(large, apart).map(({ activations }) => activations),
    );
  });
});
