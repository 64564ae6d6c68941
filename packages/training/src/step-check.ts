import { clusterOf } from "@hsap/cluster";
import { relativeError } from "@hsap/engine";
import { layerStrategyNamed } from "./layer-strategies.ts";
import { initialParameters, type ModelTensors, roundedTo } from "./parameters.ts";
import { referenceStep } from "./reference-step.ts";
import { syntheticText } from "./synthetic-text.ts";
import { batchOf, dtypeOf, preparedStep, seedOf, type TrainingOptions } from "./training-run.ts";

/** The first step of a training on one rank: what the step of every strategy must equal. */
export interface ExpectedStep {
  readonly loss: number;
  readonly gradients: ReadonlyMap<string, Float64Array | Float32Array>;
  /** How it was computed. */
  readonly by: "float64" | "one rank";
  /** As the ranks store them: rounded to the dtype of the training. */
  readonly weights: ModelTensors;
  readonly allowed: AllowedErrors;
}

/** The most by which a step may differ: its loss relatively, every gradient in relative L2. */
export interface AllowedErrors {
  readonly loss: number;
  readonly gradient: number;
}

/** How far a strategy's step is from the expected one. */
export interface StepErrors {
  /** Relative difference. */
  readonly loss: number;
  /** Largest relative L2 error of any gradient, and of which. */
  readonly gradient: number;
  readonly worst: string;
  readonly runMs: number;
}

/** Where everything is fp32. */
export const allowedErrors: AllowedErrors = { loss: 1e-6, gradient: 1e-5 };

/** Half of the last place of a bf16 number, at most, relative to it: the loss is made of logits that are no better. */
const bf16Rounding = 2 ** -8;

/** Up to so many multiply-adds of weights and tokens the textbook step takes seconds. */
const largestReference = 5e8;

/**
 * The first step on one rank: in float64 where that takes seconds, else by the engine with one rank in fp32. With bf16 it is the step of
 * the rounded weights, from which a strategy's gradients may be twice as far as those of one rank in bf16 are.
 */
export async function expectedFirstStep(options: TrainingOptions): Promise<ExpectedStep> {
  const { model, seed, tokens } = options;
  const dtype = dtypeOf(options);
  const weights = roundedTo(dtype, initialParameters(model, seed));
  const batch = batchOf(options, 1);
  const ids = syntheticText(batch, model.vocabulary, seedOf(seed, 1));
  const elements = [...weights.values()].reduce((sum, { length }) => sum + length, 0);
  const alone = { ...options, strategy: layerStrategyNamed("reference"), cluster: clusterOf({ ranks: 1 }) };
  const { degrees: _, strategyOptions: __, ...rest } = alone;
  const found: Omit<ExpectedStep, "allowed"> =
    elements * tokens <= largestReference
      ? { ...referenceStep(model, weights, ids, batch), by: "float64", weights }
      : { ...(await preparedStep(batch, { ...rest, dtype: "fp32" }).run(weights, ids)), by: "one rank", weights };
  if (dtype === "fp32") return { ...found, allowed: allowedErrors };
  const { gradient } = await firstStepErrors(rest, found);
  return { ...found, allowed: { loss: bf16Rounding, gradient: 2 * gradient } };
}

/** Takes the first step with the strategy of `options`, and says how far it is from `expected`. */
export async function firstStepErrors(
  options: TrainingOptions,
  expected: Pick<ExpectedStep, "loss" | "gradients" | "weights">,
): Promise<StepErrors> {
  const batch = batchOf(options, 1);
  const ids = syntheticText(batch, options.model.vocabulary, seedOf(options.seed, 1));
  const { loss, gradients, stageMs } = await preparedStep(batch, options).run(expected.weights, ids);
  let [gradient, worst] = [0, ""];
  for (const [key, values] of gradients) {
    const error = relativeError(values, expected.gradients.get(key) ?? new Float64Array(values.length));
    if (!(error > gradient) && !Number.isNaN(error)) continue;
    [gradient, worst] = [error, key];
  }
  const runMs = Object.values(stageMs).reduce((sum, ms) => sum + ms, 0);
  return { loss: Math.abs(loss - expected.loss) / Math.abs(expected.loss), gradient, worst, runMs };
}
