import { heldBytesOf, homeBlocks, peakBytesOf, type Schedule, type TensorSpec, worldSizeOf } from "@hsap/schedule";
import type { StepSchedules } from "./layer-strategy.ts";
import type { ModelProblem } from "./model-problem.ts";
import { nextOf } from "./prefetch.ts";
import { recomputationOf } from "./recomputation.ts";
import { layerWeights, type StageName, stageNames, updateStageNames } from "./stage.ts";

/** What a rank's memory is filled with, at most, during a training step. */
export const memoryKinds = ["weights", "gradients", "optimiser", "activations", "working"] as const;
export type MemoryKind = (typeof memoryKinds)[number];

/** Bytes of one rank by kind, counted from the schedules; nothing is estimated. */
export interface RankMemory extends Readonly<Record<MemoryKind, number>> {
  /** The most at any time: what is kept, and the stage that needs most besides. */
  readonly total: number;
}

/**
 * Memory of every rank in a training step of the whole model.
 *
 * - weights: all that lie with the rank between steps, as they are stored; of fp32 sums where the dtype is bf16 see optimiser.
 * - gradients: of the weights whose gradients are reduced to this rank, fp32.
 * - optimiser: two moments in fp32 for each of those, and the weight itself in fp32 where the weights are bf16.
 * - activations: the input of every layer, and what each layer keeps for its backward pass (of one layer only if it is computed again).
 * - working: the largest arena of any stage, without what is counted above.
 */
export const memoryOf = (problem: ModelProblem, schedules: StepSchedules): RankMemory[] =>
  memoryPartsOf(problem, schedules).map((parts) => memoryOfParts(problem, parts));

/** Bytes of one rank from which its memory follows, whether layers are computed again as a whole or not. */
export interface MemoryParts extends Readonly<Record<Exclude<MemoryKind, "activations">, number>> {
  /** The input of one layer. */
  readonly state: number;
  /** What one layer keeps for its backward pass. */
  readonly kept: number;
}

/** As `memoryOf`, of schedules that may serve problems with other recomputation too. */
export function memoryOfParts(problem: ModelProblem, { state, kept, ...parts }: MemoryParts): RankMemory {
  const { layers } = problem.model;
  const { weights, gradients, optimiser, working } = parts;
  const activations = (layers + 1) * state + (recomputationOf(problem) === "full" ? 1 : layers) * kept;
  const total = weights + gradients + optimiser + activations + working;
  return { weights, gradients, optimiser, activations, working, total };
}

/** Of every rank. */
export function memoryPartsOf(problem: ModelProblem, schedules: StepSchedules): MemoryParts[] {
  const stages = [...stageNames, ...updateStageNames];
  const arenas = new Map(stages.map((stage) => [stage, peakBytesOf(schedules[stage])]));
  return Array.from({ length: worldSizeOf(schedules.loss) }, (_, rank) => {
    const { layers } = problem.model;
    const homes = (stage: (typeof stages)[number], kind: (spec: TensorSpec) => boolean) =>
      homeBytes(schedules[stage], rank, (spec) => spec.role !== "internal" && kind(spec));
    // Where weights are fetched ahead, those of two layers lie gathered while a layer is computed.
    const isGathered = ({ name }: TensorSpec) =>
      schedules.layerGather !== undefined && (weightNames.has(name) || nextWeights.has(name));
    const isWeight = (spec: TensorSpec) => spec.rows !== undefined && spec.role === "input" && !isGathered(spec);
    const isGradient = (spec: TensorSpec) => spec.rows !== undefined && spec.role === "output" && !isGathered(spec);
    const all = (kind: (spec: TensorSpec) => boolean, layer: StageName, ends: readonly StageName[]) =>
      layers * homes(layer, kind) + ends.reduce((sum, stage) => sum + homes(stage, kind), 0);
    const weights = all(isWeight, "layerForward", ["embedding", "loss"]);
    const gradients = all(isGradient, "layerBackward", ["loss", "embeddingBackward"]);
    const optimiser = (problem.dtype === "bf16" ? 3 : 2) * gradients;
    const kept = homes(
      "layerForward",
      ({ name, role, rows }) => role === "output" && rows === undefined && name !== "y",
    );
    const state = homes("layerForward", ({ name }) => name === "x");
    const besides = stages.map(
      (stage) => (arenas.get(stage)?.[rank] ?? 0) - homes(stage, (spec) => !isGathered(spec) || isUpdate(stage)),
    );
    return { weights, gradients, optimiser, state, kept, working: Math.max(0, ...besides) };
  });
}

const weightNames: ReadonlySet<string> = new Set(layerWeights);
const nextWeights: ReadonlySet<string> = new Set(layerWeights.map(nextOf));
const isUpdate = (stage: string): boolean => (updateStageNames as readonly string[]).includes(stage);

/** Bytes in memory of what lies with a rank before or after a schedule, of the tensors chosen. */
function homeBytes(schedule: Schedule, rank: number, chosen: (spec: TensorSpec) => boolean): number {
  let bytes = 0;
  for (const spec of schedule.tensors) {
    if (!chosen(spec)) continue;
    for (const block of homeBlocks(schedule, rank, spec.name)) {
      const tokens = block.tokenEnd - block.tokenBegin;
      bytes += tokens * (block.headEnd - block.headBegin) * heldBytesOf(spec);
    }
  }
  return bytes;
}
