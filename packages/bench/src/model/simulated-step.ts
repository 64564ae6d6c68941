import type { Cluster } from "@hsap/cluster";
import { type LayerStrategy, type ModelProblem, type RankMemory, recomputationOf, type StageName } from "@hsap/model";
import type { Degrees } from "@hsap/schedule";
import { hardwareOf } from "@hsap/simulator";
import { InputError, tokensOf } from "@hsap/workload";
import { type KnownStep, KnownSteps, type PredictionOptions } from "./known-steps.ts";
import { stepLowerBoundBytes, stepLowerBoundMs } from "./lower-bound.ts";
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

export interface SimulatedStepOptions extends PredictionOptions {
  /**
   * The strategy's own choice without tensor ranks and data groups where left out. `auto` tries that choice with every possible `tensor` and
   * `data`, `fastest` all candidates; both take the fastest of those that fit into the device, and what needs least memory if none does.
   */
  readonly degrees?: Degrees | ChosenDegrees | undefined;
  /** What other calls with this model, batch, cluster and options have worked out, and where this one leaves what it does. */
  readonly known?: KnownSteps | undefined;
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
  const known = options.known ?? new KnownSteps(options);
  const candidates = candidatesOf(problem, strategy, options, known);
  const step = fastestFitting(problem, candidates) ?? leastMemory(problem, candidates);
  return predicted(problem, strategy, step);
}

/**
 * As `simulatedStep`; nothing where no degrees fit into the device, which is found out without simulating any.
 *
 * @throws InputError as `simulatedStep` does.
 */
export function fittingStep(
  problem: ModelProblem,
  strategy: LayerStrategy,
  options: SimulatedStepOptions = {},
): SimulatedStep | undefined {
  const known = options.known ?? new KnownSteps(options);
  const step = fastestFitting(problem, candidatesOf(problem, strategy, options, known));
  return step && predicted(problem, strategy, step);
}

/** A step that may be chosen, and what is known of it before it is compiled. */
interface Candidate {
  readonly step: KnownStep;
  readonly leastMs: number;
  readonly leastBytes: number;
}

/** Those that may be fastest first. */
function candidatesOf(
  problem: ModelProblem,
  strategy: LayerStrategy,
  { degrees, hardware = hardwareOf(problem.cluster), kernel }: SimulatedStepOptions,
  known: KnownSteps,
): Candidate[] {
  if (degrees !== "auto" && degrees !== "fastest") {
    const step = known.step(problem, strategy, degrees ?? strategy.defaultDegrees(problem));
    return [{ step, leastMs: 0, leastBytes: 0 }];
  }
  const tried = triedDegrees(problem, strategy, degrees);
  if (tried.length === 0)
    throw new InputError(`invalid degrees: ${degrees} (${strategy.name} has none for this model and number of ranks)`);
  return tried
    .map((each) => ({
      step: known.step(problem, strategy, each),
      leastMs: stepLowerBoundMs(problem, each, hardware, kernel),
      leastBytes: stepLowerBoundBytes(problem, each),
    }))
    .sort((a, b) => a.leastMs - b.leastMs);
}

/** All candidates, or for each tensor and data degree the strategy's own choice of the others. */
function triedDegrees(problem: ModelProblem, strategy: LayerStrategy, chosen: ChosenDegrees): Degrees[] {
  const candidates = strategy.candidateDegrees(problem);
  if (chosen === "fastest") return [...candidates];
  const hasOwn = strategy.degreeNames.some((name) => name !== "tensor" && name !== "data");
  const kinds = new Map(candidates.map(({ tensor = 1, data = 1 }) => [`${tensor},${data}`, { tensor, data }]));
  return [...kinds.values()].map((kind) =>
    hasOwn && kind.tensor === 1 && kind.data === 1 ? strategy.defaultDegrees(problem) : kind,
  );
}

const limitOf = ({ cluster }: ModelProblem): number => (cluster.device.memoryGiB ?? Number.POSITIVE_INFINITY) * 2 ** 30;

/** Neither what cannot be faster than one that fits, nor what cannot fit, is compiled; and what does not fit is not simulated. */
function fastestFitting(problem: ModelProblem, candidates: readonly Candidate[]): KnownStep | undefined {
  const limit = limitOf(problem);
  let best: { step: KnownStep; stepMs: number } | undefined;
  for (const { step, leastMs, leastBytes } of candidates) {
    if (best !== undefined && leastMs >= best.stepMs) break;
    if (leastBytes > limit || step.exceeds(problem, limit)) continue;
    const { stepMs } = timesOf(problem, step);
    if (best === undefined || stepMs < best.stepMs) best = { step, stepMs };
  }
  return best?.step;
}

/** The first of those that need least. */
function leastMemory(problem: ModelProblem, candidates: readonly Candidate[]): KnownStep {
  const order = candidates.map((candidate, index) => ({ ...candidate, index }));
  let best: { step: KnownStep; bytes: number; index: number } | undefined;
  for (const { step, leastBytes, index } of order.sort((a, b) => a.leastBytes - b.leastBytes)) {
    if (best !== undefined && leastBytes > best.bytes) break;
    const bytes = step.memory(problem).total;
    if (best === undefined || bytes < best.bytes || (bytes === best.bytes && index < best.index))
      best = { step, bytes, index };
  }
  return (best as { step: KnownStep }).step;
}

function predicted(problem: ModelProblem, strategy: LayerStrategy, step: KnownStep): SimulatedStep {
  const { cluster } = problem;
  const memory = step.memory(problem);
  const { optimiserMs, stepMs } = timesOf(problem, step);
  const tflopsPerDevice = modelFlops(problem) / (stepMs * 1e9 * cluster.ranks);
  const isKnown = cluster.device.memoryGiB !== undefined;
  return {
    ...{ strategy: strategy.name, degrees: step.degrees, stageMs: step.times.stageMs, optimiserMs, stepMs },
    tokensPerSecond: (1000 * tokensOf(problem.batch)) / stepMs,
    ...{ tflopsPerDevice, mfu: tflopsPerDevice / cluster.device.peakTflops, memory },
    ...(isKnown && { fits: memory.total <= limitOf(problem) }),
  };
}

function timesOf(problem: ModelProblem, step: KnownStep): { optimiserMs: number; stepMs: number } {
  const { model, cluster } = problem;
  const { stageMs, gatherMs, layerUpdateMs, endUpdateMs } = step.times;
  const optimiserMs = optimiserTimeMs(step.memory(problem), cluster) + model.layers * layerUpdateMs + endUpdateMs;
  const layerMs = stageMs.layerForward * (recomputationOf(problem) === "full" ? 2 : 1) + stageMs.layerBackward;
  const endsMs = stageMs.embedding + gatherMs + stageMs.loss + stageMs.embeddingBackward;
  return { optimiserMs, stepMs: endsMs + model.layers * layerMs + optimiserMs };
}

function optimiserTimeMs({ gradients }: RankMemory, { device }: Cluster): number {
  if (device.memoryBandwidthGBps === undefined)
    throw new InputError(`unknown memory bandwidth: ${device.name} (its profile has no memoryBandwidthGBps)`);
  // Gradient, two moments and weight are read, the last three written, fp32 each.
  return ((gradients / 4) * 28) / (device.memoryBandwidthGBps * 1e6);
}
