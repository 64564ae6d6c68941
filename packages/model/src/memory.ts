import { heldBytesOf, homeBlocks, rankPeaks, type Schedule, type TensorSpec } from "@hsap/schedule";
import type { StepSchedules } from "./layer-strategy.ts";
import type { ModelProblem } from "./model-problem.ts";
import { nextOf } from "./prefetch.ts";
import { recomputationOf } from "./recomputation.ts";
import { layerWeights, stageNames, updateStageNames } from "./stage.ts";

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
 * - activations: the input of every layer, and what each layer keeps for its backward stage (one layer only, if it is computed again), as
 *   that stage finds it: a sum of the forward stage is held in fp32 there, and kept in the dtype of its numbers.
 * - working: what the fullest stage needs besides, its own sums and the gradient that it makes of a layer's input among it.
 *
 * Token ids and labels are counted only in stages that read them.
 */
export const memoryOf = (problem: ModelProblem, schedules: StepSchedules): RankMemory[] =>
  new MemoryCount(problem, () => schedules).ofRanks(problem);

/** Bytes of one rank from which its memory follows, whether layers are computed again as a whole or not. */
interface MemoryParts extends Readonly<Record<Exclude<MemoryKind, "activations" | "working">, number>> {
  /** The input of one layer. */
  readonly state: number;
  /** What one layer keeps for its backward pass. */
  readonly kept: number;
  /** One layer's weights as they lie gathered between stages, where they are fetched ahead. */
  readonly gathered: number;
  /** The arenas of the stages seen, without weights, gradients and optimiser's rows that are counted above. */
  readonly arenas: ReadonlyMap<AnyStage, number>;
}

const stages = [...stageNames, ...updateStageNames];
type AnyStage = (typeof stages)[number];

/** The memory of a step, counted no more than once and only as far as somebody asks. */
export class MemoryCount {
  readonly #parts = new Map<number, MemoryParts>();
  readonly #peaks = new Map<AnyStage, (rank: number) => number>();

  /** @param schedules are asked for whenever something is counted, not kept. */
  constructor(
    private readonly problem: ModelProblem,
    private readonly schedules: () => StepSchedules,
  ) {}

  /** Of every rank, where as much is computed again as `problem` says: schedules may serve several such problems. */
  ofRanks(problem: ModelProblem): RankMemory[] {
    return this.#ranks().map((rank) => totalled(problem, this.#whole(rank)));
  }

  /** Of the rank that needs most. */
  most(problem: ModelProblem): RankMemory {
    return this.ofRanks(problem).reduce((most, rank) => (rank.total > most.total ? rank : most));
  }

  /**
   * Whether any rank needs more than that. A layer's backward stage, which as a rule needs most, says so of most steps that do: where it alone is
   * too much, for one rank, nothing else is made or counted.
   */
  exceeds(problem: ModelProblem, limitBytes: number): boolean {
    const isTooMuch = (parts: MemoryParts) => totalled(problem, parts).total > limitBytes;
    const ranks = this.#ranks();
    for (const seen of [["layerBackward"], ["layerBackward", "layerForward"]] as const)
      if (ranks.some((rank) => isTooMuch(this.#counted(rank, seen)))) return true;
    return ranks.some((rank) => isTooMuch(this.#whole(rank)));
  }

  /** Lets go of the schedules. What was counted whole stays known. */
  drop(): void {
    this.#peaks.clear();
  }

  #ranks(): number[] {
    return Array.from({ length: this.problem.cluster.ranks }, (_, rank) => rank);
  }

  #whole(rank: number): MemoryParts {
    const parts = this.#parts.get(rank) ?? this.#counted(rank, stages);
    this.#parts.set(rank, parts);
    return parts;
  }

  /** What the stages in `seen` say: all of it, or some of it, which is never more. */
  #counted(rank: number, seen: readonly AnyStage[]): MemoryParts {
    const { problem } = this;
    const schedules = this.schedules();
    const homes = (stage: AnyStage, kind: (spec: TensorSpec) => boolean) =>
      seen.includes(stage) ? homeBytes(schedules[stage], rank, (spec) => spec.role !== "internal" && kind(spec)) : 0;
    // Where weights are fetched ahead, those of two layers lie gathered while a layer is computed.
    const isGathered = ({ name }: TensorSpec) =>
      schedules.layerGather !== undefined && (weightNames.has(name) || nextWeights.has(name));
    const isWeight = (spec: TensorSpec) => spec.rows !== undefined && spec.role === "input" && !isGathered(spec);
    const isGradient = (spec: TensorSpec) => spec.rows !== undefined && spec.role === "output" && !isGathered(spec);
    const isState = ({ name }: TensorSpec) => name === "x";
    const isSaved = ({ name, rows }: TensorSpec) => rows === undefined && !["x", "dy", "dx"].includes(name);
    // Both stages of a layer have its weights.
    const ofLayer = (kind: (spec: TensorSpec) => boolean) =>
      Math.max(homes("layerForward", kind), homes("layerBackward", kind));
    const { layers } = problem.model;
    const weights = layers * ofLayer(isWeight) + homes("embedding", isWeight) + homes("loss", isWeight);
    const gradients =
      layers * homes("layerBackward", isGradient) + homes("loss", isGradient) + homes("embeddingBackward", isGradient);
    const isCounted = (stage: AnyStage) => (spec: TensorSpec) =>
      spec.rows !== undefined && (!isGathered(spec) || isUpdate(stage));
    return {
      ...{ weights, gradients, optimiser: (problem.dtype === "bf16" ? 3 : 2) * gradients },
      ...{ state: homes("layerBackward", isState), kept: homes("layerBackward", isSaved) },
      gathered: ofLayer((spec) => weightNames.has(spec.name) && isGathered(spec)),
      arenas: new Map(seen.map((stage) => [stage, this.#peak(stage, rank) - homes(stage, isCounted(stage))])),
    };
  }

  #peak(stage: AnyStage, rank: number): number {
    const peakOf = this.#peaks.get(stage) ?? remembering(rankPeaks(this.schedules()[stage]));
    this.#peaks.set(stage, peakOf);
    return peakOf(rank);
  }
}

function totalled(problem: ModelProblem, { arenas, ...parts }: MemoryParts): RankMemory {
  const { weights, gradients, optimiser, state, kept } = parts;
  const { layers } = problem.model;
  const activations = (layers + 1) * state + (recomputationOf(problem) === "full" ? 1 : layers) * kept;
  const beside = heldBeside(problem, parts);
  const most = Math.max(activations, ...[...arenas].map(([stage, bytes]) => bytes + beside[stage]));
  const total = weights + gradients + optimiser + most;
  return { weights, gradients, optimiser, activations, working: most - activations, total };
}

/**
 * Activations, and weights gathered ahead, that lie with a rank while a stage runs and not in its arena. A layer's stages have most beside
 * them at the last layer.
 */
function heldBeside(
  problem: ModelProblem,
  { state, kept, gathered }: Pick<MemoryParts, "state" | "kept" | "gathered">,
): Readonly<Record<AnyStage, number>> {
  const { layers } = problem.model;
  const isAgain = recomputationOf(problem) === "full";
  const before = (layers - 1) * (state + (isAgain ? 0 : kept));
  return {
    embedding: gathered,
    // A forward stage that runs again does so while the gradient of the layer's output waits.
    layerForward: before + (isAgain ? state : 0),
    loss: layers * (state + (isAgain ? 0 : kept)) + gathered,
    layerBackward: before,
    ...{ embeddingBackward: 0, layerUpdate: 0, endUpdate: 0 },
  };
}

function remembering(numberOf: (rank: number) => number): (rank: number) => number {
  const known = new Map<number, number>();
  return (rank) => {
    const value = known.get(rank) ?? numberOf(rank);
    known.set(rank, value);
    return value;
  };
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
