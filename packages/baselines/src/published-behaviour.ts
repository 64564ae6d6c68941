import {
  attentionTensors,
  type Problem,
  type StrategyOption,
  type StrategyOptions,
  type TensorSpec,
} from "@hsap/schedule";
import { InputError, packedBatch, tokensOf } from "@hsap/workload";

/** The option of strategies whose published form is for one sequence and knows no documents. */
export const ignoreBorders: StrategyOption = {
  summary: "attend across document borders, as a system made for one sequence does with a pack",
  default: false,
  published: true,
};

/**
 * The option of rings whose gradients travel as they are summed up: in fp32, whatever the dtype of keys and values. Sums that are
 * rounded to bf16 at every hop err by more than one rounding, and the more the longer the ring.
 */
export const fp32Gradients: StrategyOption = {
  summary: "gradients of keys and values travel in fp32, so that a ring does not round them to bf16 at every hop",
  default: false,
};

/** The same for the rings that do so as published: those of ring-flash-attention. */
export const publishedFp32Gradients: StrategyOption = { ...fp32Gradients, published: true };

/**
 * The problem whose tiles a strategy makes: as it is, or with all documents as one where borders are ignored. The schedule remains
 * one for the given problem, so that the verifier reports the pairs across borders.
 *
 * @throws InputError if the option is neither true nor false.
 */
export function tiledProblem(problem: Problem, options: StrategyOptions = {}): Problem {
  return isSet("ignoreBorders", options) ? { ...problem, batch: packedBatch([tokensOf(problem.batch)]) } : problem;
}

/**
 * The gradients of keys and values in fp32 where the options say so, for a schedule in the backward pass.
 *
 * @throws InputError if the option is neither true nor false.
 */
export function gradientTensors(problem: Problem, options: StrategyOptions = {}): TensorSpec[] {
  if (!isSet("fp32Gradients", options)) return [];
  const gradients = attentionTensors(problem).filter(({ name }) => name === "dk" || name === "dv");
  return gradients.map((spec) => ({ ...spec, dtype: "fp32" }));
}

/** @throws InputError if the option is neither true nor false. */
export function isSet(name: string, options: StrategyOptions): boolean {
  const value = options[name] ?? false;
  if (typeof value === "boolean") return value;
  throw new InputError(`invalid ${name}: ${value} (must be true or false)`);
}
