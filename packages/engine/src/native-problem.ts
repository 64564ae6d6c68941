import { checkProblem, type Problem } from "@hsap/schedule";
import { tokensOf } from "@hsap/workload";
import type { NativeInputs, NativeProblem, Perturbation } from "./addon.ts";
import { EngineError } from "./engine-error.ts";

/** A problem as the addon takes it. Throws InputError if no engine could work with it. */
export function nativeProblemOf(problem: Problem): NativeProblem {
  const { shape, mask, pass, batch } = checkProblem(problem);
  const { heads, kvHeads, headDim, dtype } = shape;
  return {
    heads,
    kvHeads,
    headDim,
    bf16: dtype === "bf16",
    causal: mask === "causal",
    backward: pass === "backward",
    cuSeqlens: batch.cuSeqlens,
  };
}

/** Seeds and perturbation, checked. Throws EngineError with code `invalid-argument`. */
export function nativeInputsOf(problem: Problem, seed: number, perturb: Perturbation | undefined): NativeInputs {
  checkSeed("seed", seed);
  if (perturb === undefined) return { seed };
  checkSeed("perturb.seed", perturb.seed);
  const { tokenBegin, tokenEnd } = perturb;
  const tokens = tokensOf(problem.batch);
  const whole = Number.isInteger(tokenBegin) && Number.isInteger(tokenEnd);
  if (!whole || tokenBegin < 0 || tokenBegin > tokenEnd || tokenEnd > tokens) {
    throw new EngineError(
      "invalid-argument",
      `invalid perturb: tokens ${tokenBegin} to ${tokenEnd} (must be a range within ${tokens} tokens)`,
    );
  }
  return { seed, perturb };
}

function checkSeed(name: string, seed: number): void {
  if (Number.isSafeInteger(seed) && seed >= 0) return;
  throw new EngineError("invalid-argument", `invalid ${name}: ${seed} (must be a whole number from 0 to 2^53 - 1)`);
}
