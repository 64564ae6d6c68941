import { clusterOf } from "@hsap/cluster";
import { relativeError } from "@hsap/engine";
import { type ModelProblem, memoryOf, modelNamed, type Recomputation, recomputations, stageNames } from "@hsap/model";
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

function stepOf(name: string, ranks: number, placement?: "replicated" | "sharded", recompute?: Recomputation) {
  const problem = { ...problemOn(ranks), ...(recompute && { recompute }) };
  const strategy = layerStrategyNamed(name, placement);
  const schedules = strategy.compile(problem, strategy.defaultDegrees(problem));
  for (const stage of stageNames) expect(verify(schedules[stage])).toEqual([]);
  return new ModelStep(problem, schedules);
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
        expectEqual(await stepOf(name, ranks, placement).run(parameters, ids));
      });
    }
  }

  it("equals the float64 step with megatron on 4 ranks", async () => {
    expectEqual(await stepOf("megatron", 4).run(parameters, ids));
  });

  it("touches the memory that its schedules count, within 5 %", async () => {
    const many = { ...problemOn(4), batch: packedBatch([900, 124]) };
    const random = seededRandom(1);
    const text = Int32Array.from({ length: 1024 }, () => Math.floor(random() * model.vocabulary));
    for (const [name, recompute] of [
      ["ring", "none"],
      ["ring", "full"],
      ["ulysses", "selective"],
      ["megatron", "none"],
      ["megatron", "selective"],
    ] as const) {
      const strategy = layerStrategyNamed(name);
      const problem = { ...many, recompute };
      const schedules = strategy.compile(problem, strategy.defaultDegrees(problem));
      const { arenaBytes, residentBytes } = await new ModelStep(problem, schedules).run(parameters, text);
      arenaBytes.forEach((bytes, rank) => {
        expect(residentBytes[rank] / bytes, `${name}, rank ${rank}`).toBeGreaterThan(0.95);
        expect(residentBytes[rank] / bytes, `${name}, rank ${rank}`).toBeLessThan(1.05);
      });
    }
  });

  it("gives the same bits on 1, 2 and 3 threads for each rank", async () => {
    const many = { ...problemOn(2), batch: packedBatch([1900, 148]) };
    const random = seededRandom(1);
    const text = Int32Array.from({ length: 2048 }, () => Math.floor(random() * model.vocabulary));
    const strategy = layerStrategyNamed("ring");
    const schedules = strategy.compile(many, strategy.defaultDegrees(many));
    const step = (threadsPerRank: number) => new ModelStep(many, schedules, { threadsPerRank }).run(parameters, text);
    const one = await step(1);
    for (const threads of [2, 3]) {
      const { loss, gradients } = await step(threads);
      expect(loss).toBe(one.loss);
      for (const [key, gradient] of gradients) expect(gradient, key).toEqual(one.gradients.get(key));
    }
  });

  it.each(["ring", "ulysses", "hsap", "megatron"])(
    "gives the same bits with %s whatever is computed again",
    async (name) => {
      const placement = name === "megatron" ? undefined : "sharded";
      const steps = await Promise.all(
        recomputations.map((recompute) => stepOf(name, 4, placement, recompute).run(parameters, ids)),
      );
      for (const { loss, gradients } of steps) {
        expect(loss).toBe(steps[0].loss);
        for (const [key, gradient] of gradients) expect(gradient, key).toEqual(steps[0].gradients.get(key));
      }
    },
  );

  it("keeps two normed rows and the activation's product less where they are made again, and x alone with all else", () => {
    const problem = problemOn(4);
    const { hidden, ffn, heads, kvHeads, headDim, layers } = model;
    const strategy = layerStrategyNamed("ring");
    const degrees = strategy.defaultDegrees(problem);
    const [none, selective, full] = recomputations.map((recompute) => {
      const given = { ...problem, recompute };
      const memory = memoryOf(given, strategy.compile(given, degrees));
      return memory.reduce((sum, { activations }) => sum + activations, 0) / (4 * tokensOf(batch));
    });
    const kept = (heads * 2 + kvHeads * 2) * headDim + heads + hidden + 2 * ffn;
    expect(none).toBe((layers + 1) * hidden + layers * (kept + 2 * hidden + ffn));
    expect(selective).toBe((layers + 1) * hidden + layers * kept);
    expect(full).toBe((layers + 1) * hidden + kept);
  });
});
