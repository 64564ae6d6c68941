import { clusterOf } from "@hsap/cluster";
import { kernelIsas, relativeError, runStage } from "@hsap/engine";
import {
  type ModelProblem,
  modelNamed,
  type Recomputation,
  recomputations,
  stageNames,
  type WeightPlacement,
} from "@hsap/model";
import { type Degrees, rowsOf, verify } from "@hsap/schedule";
import { packedBatch, seededRandom, tokensOf } from "@hsap/workload";
import { beforeAll, describe, expect, it } from "vitest";
import {
  initialParameters,
  layerStrategyNamed,
  layerStrategyNames,
  ModelStep,
  referenceStep,
  roundedTo,
  type StepOptions,
  type StepResult,
} from "../src/index.ts";

const model = modelNamed("tiny");
const batch = packedBatch([37, 5, 1, 70, 15]);
const masters = initialParameters(model, 3);
const stored = roundedTo("bf16", masters);
const random = seededRandom(11);
const ids = Int32Array.from({ length: tokensOf(batch) }, () => Math.floor(random() * model.vocabulary));
const expected = referenceStep(model, stored, ids, batch);

const problemOn = (ranks: number): ModelProblem => ({
  ...{ model, batch, cluster: clusterOf({ ranks, ranksPerNode: 4 }), dtype: "bf16", lossChunk: 24 },
});

interface Given {
  readonly placement?: WeightPlacement | undefined;
  readonly degrees?: Degrees;
  readonly more?: Pick<ModelProblem, "receivedKv" | "prefetch">;
  readonly recompute?: Recomputation;
  readonly lengths?: readonly number[];
  readonly options?: StepOptions;
}

function stepOf(name: string, ranks: number, given: Given = {}) {
  const { placement, degrees, more, recompute, lengths, options } = given;
  const problem: ModelProblem = {
    ...problemOn(ranks),
    ...(lengths && { batch: packedBatch(lengths) }),
    ...(recompute && { recompute }),
    ...more,
  };
  const strategy = layerStrategyNamed(name, placement);
  const schedules = strategy.compile(problem, degrees ?? strategy.defaultDegrees(problem));
  for (const stage of stageNames) expect(verify(schedules[stage])).toEqual([]);
  return new ModelStep(problem, schedules, options);
}

/** Relative difference of the loss, and the largest relative L2 error of any gradient, from the float64 step of the stored weights. */
function errorsOf({ loss, gradients }: StepResult) {
  expect([...gradients.keys()].sort()).toEqual([...expected.gradients.keys()].sort());
  const errors = [...gradients].map(([key, values]) =>
    relativeError(values, expected.gradients.get(key) as Float64Array),
  );
  return { loss: Math.abs(loss - expected.loss) / expected.loss, gradient: Math.max(...errors) };
}

function expectSameBits(one: StepResult, other: StepResult): void {
  expect(other.loss).toBe(one.loss);
  for (const [key, gradient] of other.gradients) expect(gradient, key).toEqual(one.gradients.get(key));
}

const textOf = (tokens: number) => {
  const draw = seededRandom(1);
  return Int32Array.from({ length: tokens }, () => Math.floor(draw() * model.vocabulary));
};

describe("a training step in bf16", () => {
  let alone: ReturnType<typeof errorsOf>;
  beforeAll(async () => {
    alone = errorsOf(await stepOf("reference", 1).run(stored, ids));
  });

  it("is as near the float64 step of the same weights as bf16's rounding lets it be on one rank", () => {
    // A rounding errs by some 2^-9 of a number in the mean, and by 2^-8 at most; a hundred independent ones by ten times as much.
    expect(alone.loss).toBeLessThan(2 ** -8);
    expect(alone.gradient).toBeLessThan(10 * 2 ** -9);
    expect(alone.gradient).toBeGreaterThan(2 ** -11);
  });

  for (const name of layerStrategyNames.filter((each) => each !== "reference")) {
    const ranks = name === "megatron" ? 4 : 8;
    const placements = name === "megatron" ? [undefined] : (["replicated", "sharded"] as const);
    it(`has at most twice the error of one rank with ${name} on ${ranks} ranks`, async () => {
      for (const placement of placements) {
        const errors = errorsOf(await stepOf(name, ranks, { placement }).run(stored, ids));
        expect(errors.loss, placement ?? "").toBeLessThan(2 ** -8);
        expect(errors.gradient, placement ?? "").toBeLessThan(2 * alone.gradient);
      }
    });
  }

  it.each([
    ["ulysses", { placement: "grouped", degrees: { tensor: 2, ulysses: 2, data: 2 } }],
    ["hsap", { placement: "replicated", degrees: { tensor: 2, data: 2 } }],
    ["ring", { placement: "sharded", more: { receivedKv: "keep", prefetch: true } }],
    ["megatron", { degrees: { tensor: 4, data: 2 } }],
  ] as const)("has at most twice the error of one rank with %s and %j", async (name, given) => {
    const errors = errorsOf(await stepOf(name, 8, given).run(stored, ids));
    expect(errors.loss).toBeLessThan(2 ** -8);
    expect(errors.gradient).toBeLessThan(2 * alone.gradient);
  });

  it.each([
    ["loss", "labels", /crossEntropy\) has operand 1 stored as bf16 \(must be fp32\)/],
    ["loss", "loss", /crossEntropy\) has operand 2 stored as bf16/],
    ["embedding", "ids", /embed\) has operand 0 stored as bf16/],
    ["embeddingBackward", "de", /embedGradient\) has operand 2 stored as bf16/],
    ["layerBackward", "dg1", /rmsNormGradient\) has operand 4 stored as bf16/],
  ] as const)("cannot have, in stage %s, tensor %s as bf16", async (stage, name, message) => {
    const strategy = layerStrategyNamed("reference");
    const schedule = strategy.compile(problemOn(1), {})[stage];
    const halved = {
      ...schedule,
      tensors: schedule.tensors.map((spec) =>
        spec.name === name ? { ...spec, dtype: "bf16" as const, accumulates: false } : spec,
      ),
    };
    const tensors = Object.fromEntries(
      halved.tensors.map((spec) => [
        spec.name,
        new Float32Array(spec.heads * spec.width * rowsOf(spec, halved.problem)),
      ]),
    );
    await expect(runStage(halved, tensors)).rejects.toThrow(message);
  });

  it.each(kernelIsas())("is as near with the kernels of %s", async (isa) => {
    const errors = errorsOf(await stepOf("ring", 4, { options: { isa } }).run(stored, ids));
    expect(errors.loss).toBeLessThan(2 ** -8);
    expect(errors.gradient).toBeLessThan(2 * alone.gradient);
  });

  it("has the same numbers of the optimiser's weights as of those that are stored", async () => {
    const step = stepOf("ring", 4, { placement: "sharded" });
    expectSameBits(await step.run(stored, ids), await step.run(masters, ids));
  });

  it.each(["ring", "ulysses", "hsap", "megatron"])(
    "gives the same bits with %s again, and whatever is computed again",
    async (name) => {
      const placement = name === "megatron" ? undefined : "sharded";
      const [first, ...others] = await Promise.all(
        ["none" as const, ...recomputations].map((recompute) =>
          stepOf(name, 4, { placement, recompute }).run(stored, ids),
        ),
      );
      for (const other of others) expectSameBits(first, other);
    },
  );

  it("gives the same bits on 1 and 3 threads for each rank", async () => {
    const text = textOf(1024);
    const [one, three] = await Promise.all(
      [1, 3].map((threadsPerRank) =>
        stepOf("ring", 2, { lengths: [900, 124], options: { threadsPerRank } }).run(stored, text),
      ),
    );
    expectSameBits(one, three);
  });

  it("touches the memory that its schedules count, within 5 %", async () => {
    const text = textOf(1024);
    for (const [name, recompute] of [
      ["ring", "none"],
      ["ulysses", "selective"],
      ["hsap", "full"],
      ["megatron", "selective"],
    ] as const) {
      const step = stepOf(name, 4, { lengths: [900, 124], recompute });
      const { arenaBytes, residentBytes } = await step.run(stored, text);
      arenaBytes.forEach((bytes, rank) => {
        expect(residentBytes[rank] / bytes, `${name}, rank ${rank}`).toBeGreaterThan(0.95);
        expect(residentBytes[rank] / bytes, `${name}, rank ${rank}`).toBeLessThan(1.05);
      });
    }
  });

  it.each([
    ["ring", "replicated"],
    ["ring", "sharded"],
    ["megatron", undefined],
  ] as const)(
    "stores the optimiser's weights rounded to the nearest with %s and %s weights",
    async (name, placement) => {
      const { weights } = await stepOf(name, 4, { placement }).spread(masters);
      for (const [key, values] of stored) expect(weights.get(key), key).toEqual(values);
    },
  );
});
