import { megatron } from "@hsap/baselines";
import { clusterOf } from "@hsap/cluster";
import { relativeError } from "@hsap/engine";
import { type ModelProblem, modelNamed, stageNames } from "@hsap/model";
import { verify } from "@hsap/schedule";
import { packedBatch, seededRandom, tokensOf } from "@hsap/workload";
import { describe, expect, it } from "vitest";
import {
  initialParameters,
  layerStrategyNamed,
  layerStrategyNames,
  ModelStep,
  referenceStep,
  type StepResult,
} from "../src/index.ts";

const model = modelNamed("tiny");
const batch = packedBatch([37, 5, 1, 70, 15]);
const parameters = initialParameters(model, 3);
const random = seededRandom(11);
const ids = Int32Array.from({ length: tokensOf(batch) }, () => Math.floor(random() * model.vocabulary));
const expected = referenceStep(model, parameters, ids, batch);

const problemOn = (ranks: number): ModelProblem => ({
  ...{ model, batch, cluster: clusterOf({ ranks, ranksPerNode: 4 }), dtype: "fp32", lossChunk: 24 },
});

function stepOf(name: string, ranks: number, placement: "replicated" | "sharded", recompute: "none" | "full") {
  const problem = problemOn(ranks);
  const strategy = layerStrategyNamed(name, placement);
  const schedules = strategy.compile(problem, strategy.defaultDegrees(problem));
  for (const stage of stageNames) expect(verify(schedules[stage])).toEqual([]);
  return new ModelStep(problem, schedules, { recompute });
}

function expectEqual({ loss, gradients }: StepResult): void {
  expect(Math.abs(loss - expected.loss) / expected.loss).toBeLessThan(1e-6);
  expect([...gradients.keys()].sort()).toEqual([...expected.gradients.keys()].sort());
  for (const [key, gradient] of gradients) {
    const error = relativeError(gradient, expected.gradients.get(key) as Float64Array);
    expect(error, key).toBeLessThan(1e-5);
  }
}

describe("a training step of a model of two layers", () => {
  for (const name of layerStrategyNames.filter((each) => each !== "megatron")) {
    const ranks = name === "reference" ? 1 : 8;
    for (const placement of ["replicated", "sharded"] as const) {
      it(`equals the float64 step with ${name} on ${ranks} ranks and ${placement} weights`, async () => {
        expectEqual(await stepOf(name, ranks, placement, "none").run(parameters, ids));
      });
    }
  }

  it("equals the float64 step with megatron on 4 ranks", async () => {
    const problem = problemOn(4);
    const schedules = megatron.compile(problem, { tensor: 4 });
    for (const stage of stageNames) expect(verify(schedules[stage])).toEqual([]);
    expectEqual(await new ModelStep(problem, schedules).run(parameters, ids));
  });

  it("touches the memory that its schedules count, within 5 %", async () => {
    const many = { ...problemOn(4), batch: packedBatch([900, 124]) };
    const random = seededRandom(1);
    const text = Int32Array.from({ length: 1024 }, () => Math.floor(random() * model.vocabulary));
    for (const name of ["ring", "ulysses", "megatron"]) {
      const strategy = layerStrategyNamed(name);
      const schedules = strategy.compile(many, strategy.defaultDegrees(many));
      const { arenaBytes, residentBytes } = await new ModelStep(many, schedules).run(parameters, text);
      arenaBytes.forEach((bytes, rank) => {
        expect(residentBytes[rank] / bytes, `${name}, rank ${rank}`).toBeGreaterThan(0.95);
        expect(residentBytes[rank] / bytes, `${name}, rank ${rank}`).toBeLessThan(1.05);
      });
    }
  });

  it("gives the same bits when the forward pass is computed again", async () => {
    const kept = await stepOf("ulysses", 4, "sharded", "none").run(parameters, ids);
    const again = await stepOf("ulysses", 4, "sharded", "full").run(parameters, ids);
    expect(again.loss).toBe(kept.loss);
    for (const [key, gradient] of again.gradients) expect(gradient, key).toEqual(kept.gradients.get(key));
  });
});
