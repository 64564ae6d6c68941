import { clusterOf, presetCluster } from "@hsap/cluster";
import { layerWeights, type ModelProblem, memoryOf, modelNamed, weightShape } from "@hsap/model";
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
const layerBytes = layerWeights.reduce((sum, weight) => {
  const { rows, heads, width } = weightShape({ model }, weight);
  return sum + 4 * rows * heads * width;
}, 0);

function compiled(name: string, prefetch: boolean, degrees?: Degrees) {
  const strategy = layerStrategyNamed(name, degrees?.data === undefined ? "sharded" : "grouped");
  const given = { ...problem, prefetch };
  return strategy.compile(given, degrees ?? strategy.defaultDegrees(given));
}

describe("weights of the next layer", () => {
  it.each([
    ["ring", undefined],
    ["hsap", undefined],
    ["ulysses", { tensor: 2, ulysses: 2, data: 2 }],
  ] as const)("are gathered while one is computed with %s %j: the same bytes and bits", async (name, degrees) => {
    const [late, ahead] = [compiled(name, false, degrees), compiled(name, true, degrees)];
    for (const schedule of Object.values(ahead)) expect(verify(schedule)).toEqual([]);
    for (const stage of ["layerForward", "layerBackward"] as const)
      expect(accountOf(ahead[stage]).receivedBytes.total).toBe(accountOf(late[stage]).receivedBytes.total);
    const parameters = initialParameters(model, 3);
    const random = seededRandom(11);
    const ids = Int32Array.from({ length: tokensOf(batch) }, () => Math.floor(random() * model.vocabulary));
    const [kept, fetched] = [
      await new ModelStep(problem, late).run(parameters, ids),
      await new ModelStep({ ...problem, prefetch: true }, ahead).run(parameters, ids),
    ];
    expect(fetched.loss).toBe(kept.loss);
    for (const [key, gradient] of fetched.gradients) expect(gradient, key).toEqual(kept.gradients.get(key));
  });

  it("take the memory of one layer more, or nearly two, and no more is kept", () => {
    const memory = (prefetch: boolean) => memoryOf({ ...problem, prefetch }, compiled("ring", prefetch));
    const [late, ahead] = [memory(false), memory(true)];
    ahead.forEach((rank, i) => {
      for (const kind of ["weights", "gradients", "optimiser", "activations"] as const)
        expect(rank[kind], kind).toBe(late[i][kind]);
      expect(rank.working).toBeGreaterThan(late[i].working + layerBytes / 2);
      expect(rank.working).toBeLessThanOrEqual(late[i].working + 2 * layerBytes);
    });
  });

  it("make a layer faster where it would wait for them", () => {
    const cluster = clusterOf({ ranks: 8, from: presetCluster("h100-400g") });
    const large: ModelProblem = {
      ...{ model: modelNamed("7b"), batch: fillPack(() => 4096, { tokens: 65536 }), cluster, dtype: "bf16" },
      lossChunk: 4096,
    };
    const [late, ahead] = [false, true].map((prefetch) => {
      const strategy = layerStrategyNamed("hsap", "sharded");
      const { layerForward, layerBackward } = strategy.compile({ ...large, prefetch }, { ulysses: 1, sap: 8 });
      return simulate(layerForward).trace.durationUs + simulate(layerBackward).trace.durationUs;
    });
    expect(ahead).toBeLessThan(0.98 * late);
  });

  it("are not fetched where a layer is computed again", () => {
    const strategy = layerStrategyNamed("ring", "sharded");
    const given = { ...problem, prefetch: true, recompute: "full" } as const;
    expect(() => strategy.compile(given, strategy.defaultDegrees(given))).toThrow(
      "unsupported prefetch: recompute is full (must be none or selective)",
    );
  });
});
