import type { Cluster } from "@hsap/cluster";
import {
  attentionProblemOf,
  type LayerStrategy,
  layerParameters,
  type ModelProblem,
  memoryOf,
  type RankMemory,
  recomputationOf,
  type StageName,
  stageNames,
} from "@hsap/model";
import { type Degrees, flopsOf, type StrategyOptions } from "@hsap/schedule";
import { hardwareOf, type SimulationOptions, simulate } from "@hsap/simulator";
import { InputError, tokensOf } from "@hsap/workload";

/** What is predicted of one training step of a model. Times are simulated, memory is counted. */
export interface SimulatedStep {
  readonly strategy: string;
  readonly degrees: Degrees;
  /** One run of each stage, milliseconds. */
  readonly stageMs: Readonly<Record<StageName, number>>;
  /** AdamW: 28 bytes moved for each weight of a rank, at the device's memory bandwidth. */
  readonly optimiserMs: number;
  readonly stepMs: number;
  readonly tokensPerSecond: number;
  /** Model FLOPs of the step, by device and second: what is computed again does not count. */
  readonly tflopsPerDevice: number;
  /** Share of the devices' peak. */
  readonly mfu: number;
  /** Of the rank that needs most. */
  readonly memory: RankMemory;
  /** Whether that fits into the device, where its memory is known. */
  readonly fits?: boolean;
}

export interface SimulatedStepOptions extends Pick<SimulationOptions, "hardware" | "kernel" | "library"> {
  /** The strategy's own choice where left out; `fastest` tries all of its candidates and takes the one predicted fastest. */
  readonly degrees?: Degrees | "fastest" | undefined;
  readonly strategyOptions?: StrategyOptions;
}

/**
 * Compiles a step's schedules and predicts them stage by stage: a layer's stages count once for each layer, and stages follow each other
 * without overlap. The schedules are not verified here.
 *
 * @throws InputError if the strategy refuses the problem, or nothing is known of the device's matrix products.
 */
export function simulatedStep(
  problem: ModelProblem,
  strategy: LayerStrategy,
  options: SimulatedStepOptions = {},
): SimulatedStep {
  const { degrees } = options;
  if (degrees !== "fastest") return stepWith(problem, strategy, degrees ?? strategy.defaultDegrees(problem), options);
  const steps = strategy.candidateDegrees(problem).map((each) => stepWith(problem, strategy, each, options));
  if (steps.length === 0)
    throw new InputError(`invalid degrees: fastest (${strategy.name} has none for this model and number of ranks)`);
  return steps.reduce((best, step) => (step.stepMs < best.stepMs ? step : best));
}

function stepWith(
  problem: ModelProblem,
  strategy: LayerStrategy,
  degrees: Degrees,
  { strategyOptions, hardware: given, kernel, library }: SimulatedStepOptions,
): SimulatedStep {
  const { cluster, model } = problem;
  const hardware = given ?? hardwareOf(cluster);
  const schedules = strategy.compile(problem, degrees, strategyOptions);
  // Threads of one machine are predicted by a model of attention alone.
  const devices = { kernel, library, hardware: { ...hardware, threads: undefined } };
  const stageMs = Object.fromEntries(
    stageNames.map((stage) => [stage, simulate(schedules[stage], devices).trace.durationUs / 1000]),
  ) as Record<StageName, number>;
  const memory = memoryOf(problem, schedules).reduce((most, rank) => (rank.total > most.total ? rank : most));
  const optimiserMs = optimiserTimeMs(memory, cluster);
  const layerMs = stageMs.layerForward * (recomputationOf(problem) === "full" ? 2 : 1) + stageMs.layerBackward;
  const stepMs = stageMs.embedding + model.layers * layerMs + stageMs.loss + stageMs.embeddingBackward + optimiserMs;
  const tflopsPerDevice = modelFlops(problem) / (stepMs * 1e9 * cluster.ranks);
  const { memoryGiB } = cluster.device;
  return {
    ...{ strategy: strategy.name, degrees, stageMs, optimiserMs, stepMs },
    tokensPerSecond: (1000 * tokensOf(problem.batch)) / stepMs,
    ...{ tflopsPerDevice, mfu: tflopsPerDevice / cluster.device.peakTflops, memory },
    ...(memoryGiB === undefined ? {} : { fits: memory.total <= memoryGiB * 2 ** 30 }),
  };
}

/**
 * FLOPs of a step by the usual count: 6 for each weight of a matrix and each token, and three times attention's forward pass over the
 * unmasked pairs of all layers. The embedding is no product; nothing that is computed again counts.
 */
export function modelFlops(problem: ModelProblem): number {
  const { model, batch } = problem;
  const matrices = model.layers * (layerParameters(model) - 2 * model.hidden) + model.vocabulary * model.hidden;
  return 6 * matrices * tokensOf(batch) + 3 * model.layers * flopsOf(attentionProblemOf(problem, "forward"));
}

function optimiserTimeMs({ gradients }: RankMemory, { device }: Cluster): number {
  if (device.memoryBandwidthGBps === undefined)
    throw new InputError(`unknown memory bandwidth: ${device.name} (its profile has no memoryBandwidthGBps)`);
  // Gradient, two moments and weight are read, the last three written, fp32 each.
  return ((gradients / 4) * 28) / (device.memoryBandwidthGBps * 1e6);
}
