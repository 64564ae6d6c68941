import { clusterOf } from "@hsap/cluster";
import { kernelIsas, relativeError } from "@hsap/engine";
import { type ModelProblem, modelNamed, stageNames, type WeightPlacement } from "@hsap/model";
import { type Degrees, opKinds, verify } from "@hsap/schedule";
import { packedBatch, seededRandom, tokensOf } from "@hsap/workload";
import { describe, expect, it } from "vitest";
import { initialParameters, layerStrategyNamed, ModelStep, referenceStep, type StepResult } from "../src/index.ts";

const model = modelNamed("tiny");
const batch = packedBatch([37, 5, 1, 70, 15, 23]);
const parameters = initialParameters(model, 3);
const random = seededRandom(11);
const ids = Int32Array.from({ length: tokensOf(batch) }, () => Math.floor(random() * model.vocabulary));
const expected = referenceStep(model, parameters, ids, batch);

function expectEqual({ loss, gradients }: StepResult): void {
  expect(Math.abs(loss - expected.loss) / expected.loss).toBeLessThan(1e-6);
  expect([...gradients.keys()].sort()).toEqual([...expected.gradients.keys()].sort());
  for (const [key, gradient] of gradients)
    expect(relativeError(gradient, expected.gradients.get(key) as Float64Array), key).toBeLessThan(1e-5);
}

const problemOn = (ranks: number): ModelProblem => ({
  ...{ model, batch, cluster: clusterOf({ ranks, ranksPerNode: 4 }), dtype: "fp32", lossChunk: 24 },
});

describe("a hybrid's training step", () => {
  const cases: readonly (readonly [string, number, Degrees, WeightPlacement | undefined])[] = [
    ["reference", 4, { data: 4 }, "sharded"],
    ["megatron", 4, { tensor: 2, data: 2 }, undefined],
    ["megatron", 8, { tensor: 4, data: 2 }, undefined],
    ["ulysses", 4, { ulysses: 2, data: 2 }, "sharded"],
    ["ulysses", 8, { tensor: 2, ulysses: 2, data: 2 }, "replicated"],
    ["ulysses", 8, { tensor: 2, ulysses: 2, data: 2 }, "grouped"],
    ["ulysses", 8, { tensor: 2, ulysses: 4 }, "sharded"],
    ["colai-sp", 8, { ring: 4, data: 2 }, "grouped"],
    ["colai-sp", 8, { tensor: 2, ring: 2, data: 2 }, "sharded"],
    ["ring", 8, { tensor: 4, ring: 2 }, "sharded"],
    ["ring", 8, { ring: 2, data: 4 }, "replicated"],
    ["ring", 6, { ring: 3, data: 2 }, "sharded"],
    ["hsap", 8, { tensor: 2, data: 2 }, "sharded"],
    ["hsap", 8, { ulysses: 2, sap: 2, data: 2 }, "grouped"],
    ["hsap", 8, { tensor: 2, ulysses: 2, sap: 2 }, "replicated"],
    ["hsap", 8, { ulysses: 4, sap: 1, data: 2 }, "sharded"],
  ];
  it.each(cases)(
    "equals the float64 step with %s on %i ranks, %o, weights %s",
    async (name, ranks, degrees, placement) => {
      const problem = problemOn(ranks);
      const schedules = layerStrategyNamed(name, placement).compile(problem, degrees);
      for (const stage of stageNames) expect(verify(schedules[stage]), stage).toEqual([]);
      expectEqual(await new ModelStep(problem, schedules).run(parameters, ids));
    },
  );

  it("splits the vocabulary alike on every instruction set", async () => {
    const problem = problemOn(4);
    const schedules = layerStrategyNamed("ulysses").compile(problem, { tensor: 2, data: 2 });
    const kinds = new Set(Array.from(schedules.loss.ops.kind, (kind) => opKinds[kind]));
    expect(kinds).toContain("splitCrossEntropy");
    for (const isa of kernelIsas()) expectEqual(await new ModelStep(problem, schedules, { isa }).run(parameters, ids));
  });

  it("counts the memory that it touches, within 5 %", async () => {
    const many = { ...problemOn(4), batch: packedBatch([500, 124, 300, 100]) };
    const text = Int32Array.from({ length: 1024 }, () => Math.floor(random() * model.vocabulary));
    for (const degrees of [
      { tensor: 2, data: 2 },
      { tensor: 2, ulysses: 2 },
      { ulysses: 2, data: 2 },
    ]) {
      const schedules = layerStrategyNamed("ulysses", "grouped").compile(many, degrees);
      const { arenaBytes, residentBytes } = await new ModelStep(many, schedules).run(parameters, text);
      arenaBytes.forEach((bytes, rank) => {
        expect(Math.abs(residentBytes[rank] / bytes - 1), `rank ${rank}`).toBeLessThan(0.05);
      });
    }
  });
});
