import { addon } from "./addon.ts";
import { EngineError } from "./engine-error.ts";

/** AdamW (Loshchilov and Hutter, arXiv 1711.05101), bias corrected. */
export interface AdamWOptions {
  readonly learningRate: number;
  readonly beta1: number;
  readonly beta2: number;
  readonly epsilon: number;
  readonly weightDecay: number;
}

/** A tensor's weights with what the optimiser remembers of its gradients; arrays of one length. */
export interface Optimised {
  readonly weights: Float32Array;
  readonly gradients: Float32Array;
  readonly first: Float32Array;
  readonly second: Float32Array;
}

/**
 * Takes one step in place; `step` counts from 1.
 *
 * @throws EngineError with code `invalid-argument` if the arrays differ in length or the step is not a whole number from 1 on.
 */
export function adamW({ weights, gradients, first, second }: Optimised, options: AdamWOptions, step: number): void {
  const lengths = [weights, gradients, first, second].map(({ length }) => length);
  if (new Set(lengths).size !== 1)
    throw new EngineError("invalid-argument", `invalid arrays: ${lengths.join(", ")} elements (must be equal)`);
  if (!Number.isInteger(step) || step < 1)
    throw new EngineError("invalid-argument", `invalid step: ${step} (must be a whole number from 1 on)`);
  addon().adamW(weights, gradients, first, second, { ...options, step });
}
