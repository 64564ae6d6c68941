import { type AdamWOptions, adamW, productsOf } from "@hsap/engine";
import type { LayerStrategy, ModelProblem, ModelShape, StepSchedules } from "@hsap/model";
import { type Degrees, type Dtype, type StrategyOptions, verify, verifyOrThrow } from "@hsap/schedule";
import { lengthsOf, mixPack, type PackedBatch, tokensOf } from "@hsap/workload";
import { ModelStep, type StepOptions, type StepResult } from "./model-step.ts";
import { initialParameters, type ModelTensors, roundedTo, zerosLike } from "./parameters.ts";
import { syntheticText } from "./synthetic-text.ts";

/** Everything that decides which numbers a training run makes, but for how it is spread over ranks. */
export interface TrainingData {
  readonly model: ModelShape;
  /** A named mix of document lengths, and the tokens of each batch. */
  readonly mix: string;
  readonly tokens: number;
  readonly seed: number;
  /** What activations, weights and messages are; sums, gradients, the optimiser's weights and moments are fp32. `fp32` where left out. */
  readonly dtype?: Dtype;
}

export interface TrainingOptions
  extends TrainingData,
    StepOptions,
    Pick<ModelProblem, "recompute" | "receivedKv" | "prefetch" | "overlap"> {
  readonly strategy: LayerStrategy;
  readonly degrees?: Degrees;
  readonly strategyOptions?: StrategyOptions;
  /** Schedules may attend across document borders, as some published systems do; every other rule must hold. */
  readonly contaminated?: boolean;
  readonly cluster: ModelProblem["cluster"];
  readonly optimiser?: Partial<AdamWOptions>;
}

/** What is kept from step to step. */
export interface TrainingState {
  /** Steps taken. */
  readonly step: number;
  /** As the optimiser moves them, fp32. */
  readonly weights: ModelTensors;
  /** As they lie with the ranks: rounded to the training's dtype; the same arrays where that is fp32. */
  readonly stored: ModelTensors;
  /** First and second moments of the gradients. */
  readonly first: ModelTensors;
  readonly second: ModelTensors;
}

export interface StepRecord {
  /** Counts from 1. */
  readonly step: number;
  readonly loss: number;
  readonly gradientNorm: number;
  readonly documents: number;
  readonly tokens: number;
  /** Compiling, verifying and lowering the schedules of this batch. */
  readonly compileMs: number;
  /** Forward and backward pass and the spreading of updated weights: the sum of all stages, measured. */
  readonly runMs: number;
  readonly stageMs: StepResult["stageMs"];
  /** The largest arena of any rank as counted from the schedules, and as the system saw it. */
  readonly arenaBytes: number;
  readonly residentBytes: number;
  /** What the products of matrices were. */
  readonly products: string;
}

export const defaultOptimiser: AdamWOptions = {
  learningRate: 3e-3,
  beta1: 0.9,
  beta2: 0.95,
  epsilon: 1e-8,
  weightDecay: 0.1,
};

/** Steps over which the learning rate rises to its value. */
const warmUpSteps = 20;
/** Gradients are scaled down to this L2 norm over all weights. */
const largestNorm = 1;

export function initialState({ model, seed, dtype }: TrainingData): TrainingState {
  const weights = initialParameters(model, seed);
  const stored = roundedTo(dtypeOf({ dtype }), weights);
  return { step: 0, weights, stored, first: zerosLike(weights), second: zerosLike(weights) };
}

export const dtypeOf = ({ dtype }: { readonly dtype?: Dtype | undefined }): Dtype => dtype ?? "fp32";

/** The documents of one step. The same for the same data and step, whatever was run before. */
export function batchOf({ mix, tokens, seed }: TrainingData, step: number): PackedBatch {
  return mixPack(mix, { tokens, seed: seedOf(seed, step) });
}

/**
 * Takes one step: packs documents of real lengths, compiles the strategy's schedules for them, verifies them, runs them, moves the weights
 * and the optimiser's state in place, and spreads the weights to where they lie.
 *
 * @throws InputError if the strategy refuses the problem, Error if a schedule breaks a rule, EngineError if a run fails.
 */
export async function trainStep(state: TrainingState, options: TrainingOptions): Promise<[TrainingState, StepRecord]> {
  const { model, seed, optimiser } = options;
  const step = state.step + 1;
  const batch = batchOf(options, step);
  const began = performance.now();
  const modelStep = preparedStep(batch, options);
  const compileMs = performance.now() - began;
  const ids = syntheticText(batch, model.vocabulary, seedOf(seed, step));
  const result = await modelStep.run(state.stored, ids);
  const { loss, gradients, stageMs: passMs, arenaBytes, residentBytes, isa } = result;
  const gradientNorm = clip(gradients);
  const settings = { ...defaultOptimiser, ...optimiser };
  const learningRate = settings.learningRate * Math.min(1, step / warmUpSteps);
  for (const [key, weights] of state.weights)
    adamW(
      { weights, gradients: of(gradients, key), first: of(state.first, key), second: of(state.second, key) },
      { ...settings, learningRate },
      step,
    );
  const { weights: stored, stageMs: updateMs, residentBytes: updateBytes } = await modelStep.spread(state.weights);
  const dtype = dtypeOf(options);
  const stageMs = { ...passMs, layerUpdate: updateMs.layerUpdate, endUpdate: updateMs.endUpdate };
  const record = {
    ...{ step, loss, gradientNorm, documents: lengthsOf(batch).length, tokens: tokensOf(batch), compileMs, stageMs },
    runMs: Object.values(stageMs).reduce((sum, ms) => sum + ms, 0),
    arenaBytes: Math.max(...arenaBytes),
    residentBytes: Math.max(...residentBytes, ...updateBytes),
    products: productsOf(dtype, isa),
  };
  return [{ ...state, weights: dtype === "fp32" ? stored : state.weights, stored, step }, record];
}

/** What a training step is to its strategy. */
export function stepProblem(batch: PackedBatch, options: TrainingOptions): ModelProblem {
  const { model, cluster, recompute, receivedKv, prefetch, overlap } = options;
  const kept = { ...(recompute && { recompute }), ...(receivedKv && { receivedKv }) };
  const hidden = { ...(prefetch && { prefetch }), ...(overlap && { overlap }) };
  return { model, batch, cluster, dtype: dtypeOf(options), lossChunk: 1024, ...kept, ...hidden };
}

/** The step of a batch: its schedules compiled, verified and lowered. */
export function preparedStep(batch: PackedBatch, options: TrainingOptions): ModelStep {
  const { strategy, strategyOptions } = options;
  const problem = stepProblem(batch, options);
  const degrees = options.degrees ?? strategy.defaultDegrees(problem);
  const schedules: StepSchedules = strategy.compile(problem, degrees, strategyOptions);
  for (const schedule of Object.values(schedules)) {
    if (options.contaminated) {
      const [other] = verify(schedule).filter(({ rule }) => rule !== "contamination");
      if (other !== undefined) throw new Error(`wrong schedule of ${schedule.strategy}: ${other.message}`);
    } else verifyOrThrow(schedule);
  }
  return new ModelStep(problem, schedules, options);
}

/** Scales gradients to the largest norm allowed if theirs is above it; returns what it was. */
function clip(gradients: ModelTensors): number {
  let squares = 0;
  for (const values of gradients.values()) for (const value of values) squares += value * value;
  const norm = Math.sqrt(squares);
  if (norm <= largestNorm) return norm;
  for (const values of gradients.values()) for (let i = 0; i < values.length; i++) values[i] *= largestNorm / norm;
  return norm;
}

function of(tensors: ModelTensors, key: string): Float32Array {
  const found = tensors.get(key);
  if (found === undefined) throw new Error(`no tensor ${key}`);
  return found;
}

/** One seed for each step: neighbouring seeds give unrelated sequences, so it need only be another number. */
export const seedOf = (seed: number, step: number): number => (seed * 1_000_003 + step) % 2 ** 32;
