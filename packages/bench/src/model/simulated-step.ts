import type { Cluster } from "@hsap/cluster";
import {
  type LayerStrategy,
  type ModelProblem,
  memoryOf,
  type RankMemory,
  recomputationOf,
  type StageName,
  stageNames,
  type UpdateStageName,
} from "@hsap/model";
import type { Degrees, StrategyOptions } from "@hsap/schedule";
import { hardwareOf, type SimulationOptions, simulate } from "@hsap/simulator";
import { InputError, tokensOf } from "@hsap/workload";
import { stepLowerBoundMs } from "./lower-bound.ts";
import { modelFlops } from "./model-flops.ts";

/** What is predicted of one training step of a model. Times are simulated, memory is counted. */
export interface SimulatedStep {
  readonly strategy: string;
  readonly degrees: Degrees;
  /** One run of each stage, milliseconds. */
  readonly stageMs: Readonly<Record<StageName, number>>;
  /**
   * AdamW, 28 bytes moved for each weight of a rank at the device's memory bandwidth; and the stages by which updated weights get to where
   * they lie.
   */
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

/** Degrees that are chosen by simulated time. */
export const chosenDegrees = ["auto", "fastest"] as const;
export type ChosenDegrees = (typeof chosenDegrees)[number];

export interface SimulatedStepOptions extends Pick<SimulationOptions, "hardware" | "kernel" | "library"> {
  /**
   * The strategy's own choice without tensor ranks and data groups where left out. `auto` tries that choice with every possible `tensor` and
   * `data`, `fastest` all candidates; both take the fastest of those that fit into the device, and what needs least memory if none does.
   */
  readonly degrees?: Degrees | ChosenDegrees | undefined;
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
  if (degrees !== "auto" && degrees !== "fastest")
    return stepWith(problem, strategy, degrees ?? strategy.defaultDegrees(problem), options);
  const hardware = options.hardware ?? hardwareOf(problem.cluster);
  const candidates = triedDegrees(strategy.candidateDegrees(problem), degrees).map((each) => {
    return { degrees: each, leastMs: stepLowerBoundMs(problem, each, hardware) };
  });
  if (candidates.length === 0)
    throw new InputError(`invalid degrees: ${degrees} (${strategy.name} has none for this model and number of ranks)`);
  let best: SimulatedStep | undefined;
  for (const { degrees: each, leastMs } of candidates.sort((a, b) => a.leastMs - b.leastMs)) {
    if (best !== undefined && best.fits !== false && leastMs >= best.stepMs) break;
    const step = stepWith(problem, strategy, each, options);
    if (best === undefined || isBetter(step, best)) best = step;
  }
  return best as SimulatedStep;
}

/** All of them, or for each tensor and data degree the strategy's own choice of the others. */
function triedDegrees(candidates: readonly Degrees[], chosen: ChosenDegrees): Degrees[] {
  if (chosen === "fastest") return [...candidates];
  const kinds = new Map(candidates.map(({ tensor = 1, data = 1 }) => [`${tensor},${data}`, { tensor, data }]));
  return [...kinds.values()];
}

function isBetter(step: SimulatedStep, than: SimulatedStep): boolean {
  if (step.fits !== than.fits) return step.fits === true;
  return step.fits === false ? step.memory.total < than.memory.total : step.stepMs < than.stepMs;
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
  const updateMs = (stage: UpdateStageName) => simulate(schedules[stage], devices).trace.durationUs / 1000;
  const optimiserMs = optimiserTimeMs(memory, cluster) + model.layers * updateMs("layerUpdate") + updateMs("endUpdate");
  const layerMs = stageMs.layerForward * (recomputationOf(problem) === "full" ? 2 : 1) + stageMs.layerBackward;
  const { layerGather } = schedules;
  const gatherMs = layerGather === undefined ? 0 : simulate(layerGather, devices).trace.durationUs / 1000;
  const endsMs = stageMs.embedding + gatherMs + stageMs.loss + stageMs.embeddingBackward;
  const stepMs = endsMs + model.layers * layerMs + optimiserMs;
  const tflopsPerDevice = modelFlops(problem) / (stepMs * 1e9 * cluster.ranks);
  const { memoryGiB } = cluster.device;
  return {
    // Those that were left out are the strategy's choice.
    ...{ strategy: strategy.name, degrees: schedules.loss.degrees, stageMs, optimiserMs, stepMs },
    tokensPerSecond: (1000 * tokensOf(problem.batch)) / stepMs,
    ...{ tflopsPerDevice, mfu: tflopsPerDevice / cluster.device.peakTflops, memory },
    ...(memoryGiB === undefined ? {} : { fits: memory.total <= memoryGiB * 2 ** 30 }),
  };
}

function optimiserTimeMs({ gradients }: RankMemory, { device }: Cluster): number {
  if (device.memoryBandwidthGBps === undefined)
    throw new InputError(`unknown memory bandwidth: ${device.name} (its profile has no memoryBandwidthGBps)`);
  // Gradient, two moments and weight are read, the last three written, fp32 each.
  return ((gradients / 4) * 28) / (device.memoryBandwidthGBps * 1e6);
}
