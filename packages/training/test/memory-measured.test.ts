import { clusterOf } from "@hsap/cluster";
import { runStage } from "@hsap/engine";
import {
  layerWeights,
  type ModelProblem,
  memoryOf,
  modelNamed,
  type Recomputation,
  recomputations,
  type StepSchedules,
  stageNames,
} from "@hsap/model";
import { homeBlocks, rowsOf, type Schedule, ScheduleBuilder, type TensorSpec } from "@hsap/schedule";
import { packedBatch } from "@hsap/workload";
import { describe, expect, it } from "vitest";
import { layerStrategyNamed } from "../src/index.ts";

// Layers enough for what they keep to be most of a step's memory, and ranks' rows enough for pages to be no matter.
const problem: ModelProblem = {
  model: { ...modelNamed("tiny"), layers: 12 },
  batch: packedBatch([900, 4, 1144]),
  cluster: clusterOf({ ranks: 4, ranksPerNode: 4 }),
  dtype: "bf16",
  lossChunk: 64,
};
const ranks = [0, 1, 2, 3];
const weightNames: readonly string[] = layerWeights;

/** Bytes of each rank's arena that the system has given pages for while a stage ran, on zeros. */
async function measured(schedule: Schedule): Promise<number[]> {
  const zeros = schedule.tensors.map(
    (spec) => [spec.name, new Float32Array(spec.heads * spec.width * rowsOf(spec, schedule.problem))] as const,
  );
  return [...(await runStage(schedule, Object.fromEntries(zeros))).residentBytes];
}

/** The same of some of a stage's tensors alone, as they lie with each rank when it begins, or are left by it. */
function measuredHomes(schedule: Schedule, chosen: (spec: TensorSpec) => boolean): Promise<number[]> {
  const held = schedule.tensors.filter((spec) => spec.role !== "internal" && chosen(spec));
  if (held.length === 0) return Promise.resolve(ranks.map(() => 0));
  const tensors = held.map((spec) => ({ ...spec, role: "input" as const }));
  const builder = new ScheduleBuilder(schedule.problem, "homes", {}, schedule.layout, tensors, []);
  for (const rank of ranks) {
    for (const { name } of tensors) {
      for (const block of homeBlocks(schedule, rank, name)) {
        builder.rank(rank).hold(block);
        builder.rank(rank).copy(block, block);
      }
    }
  }
  return measured(builder.finish());
}

const isKept = ({ name, rows }: TensorSpec) => rows === undefined && !["x", "dy", "dx"].includes(name);

/** The most that each rank has at once, step through step: the stage that runs, and what lies beside it for stages to come. */
async function measuredPeaks(schedules: StepSchedules, layers: number, recompute: Recomputation): Promise<number[]> {
  const { layerBackward, loss, embedding, embeddingBackward } = schedules;
  // Where weights are fetched ahead, those of two layers come and go with the stages; what stays is their shards.
  const isFetched = ({ name }: TensorSpec) =>
    schedules.layerGather !== undefined && (weightNames.includes(name) || name.endsWith("Next"));
  const isRows = (spec: TensorSpec) => spec.rows !== undefined && !isFetched(spec);
  const isWeight = (spec: TensorSpec) => isRows(spec) && spec.role === "input";
  const isGradient = (spec: TensorSpec) => isRows(spec) && spec.role === "output";
  const timesLayers = (bytes: number[]) => bytes.map((each) => layers * each);
  const weights = [
    timesLayers(await measuredHomes(layerBackward, isWeight)),
    await measuredHomes(embedding, isWeight),
    await measuredHomes(loss, isWeight),
  ];
  const gradients = [
    timesLayers(await measuredHomes(layerBackward, isGradient)),
    await measuredHomes(loss, isGradient),
    await measuredHomes(embeddingBackward, isGradient),
  ];
  const state = await measuredHomes(layerBackward, ({ name }) => name === "x");
  const kept = await measuredHomes(layerBackward, isKept);
  const fetched = await measuredHomes(layerBackward, (spec) => isFetched(spec) && spec.role === "input");
  const arenas = new Map<string, number[]>();
  for (const stage of stageNames) {
    const [own, whole] = [await measuredHomes(schedules[stage], isRows), await measured(schedules[stage])];
    const between = stage === "embedding" || stage === "loss" ? fetched : ranks.map(() => 0);
    arenas.set(
      stage,
      whole.map((bytes, rank) => bytes - own[rank] + between[rank]),
    );
  }
  const most = ranks.map(() => 0);
  // Stages work on a layer's input or its gradient; both lie outside of their arenas before and after.
  const run = (stage: string, statesBeside: number, keptBeside: number) => {
    for (const rank of ranks) {
      const beside = statesBeside * state[rank] + (recompute === "full" ? 0 : keptBeside * kept[rank]);
      most[rank] = Math.max(most[rank], (arenas.get(stage)?.[rank] ?? Number.NaN) + beside);
    }
  };
  run("embedding", 0, 0);
  for (let layer = 0; layer < layers; layer++) run("layerForward", layer, layer);
  run("loss", layers, layers);
  for (let layer = layers - 1; layer >= 0; layer--) {
    if (recompute === "full") run("layerForward", layer + 1, 0);
    run("layerBackward", layer, layer);
  }
  run("embeddingBackward", 0, 0);
  const sum = (parts: number[][], rank: number) => parts.reduce((total, bytes) => total + bytes[rank], 0);
  // Two moments and the weight itself, as large as the gradient each.
  return most.map((bytes, rank) => bytes + sum(weights, rank) + 4 * sum(gradients, rank));
}

describe("the predicted memory of a bf16 step", () => {
  const strategies = [
    ["ring", {}, { weights: "sharded" }],
    ["ulysses", {}, { weights: "replicated" }],
    ["hsap", {}, { weights: "sharded" }],
    ["megatron", { tensor: 4 }, { weights: undefined }],
    ["ulysses", { tensor: 2, ulysses: 2 }, { weights: "sharded" }],
    ["ring", {}, { weights: "sharded", prefetch: true, receivedKv: "keep" }],
  ] as const;
  const cases = strategies.flatMap(([name, degrees, more]) =>
    // A layer that is computed again would fetch its weights twice.
    recomputations
      .filter((recompute) => !("prefetch" in more && recompute === "full"))
      .map((recompute) => [name, degrees, { ...more, recompute }] as const),
  );

  it.each(cases)(
    "is the measured one within a twentieth, with %s %j %j",
    async (name, degrees, { weights, ...more }) => {
      const step = { ...problem, ...more };
      const strategy = layerStrategyNamed(name, weights);
      const schedules = strategy.compile(step, { ...strategy.defaultDegrees(step), ...degrees });
      const peaks = await measuredPeaks(schedules, step.model.layers, more.recompute);
      for (const [rank, { total }] of memoryOf(step, schedules).entries())
        expect(Math.abs(total / peaks[rank] - 1), `rank ${rank}: ${total} for ${peaks[rank]}`).toBeLessThan(0.05);
    },
  );
});
