import { availableParallelism } from "node:os";
import type { Problem } from "@hsap/schedule";
import { addon, type NativeReference, type Perturbation } from "./addon.ts";
import { EngineError } from "./engine-error.ts";
import { finished } from "./native-job.ts";
import { nativeInputsOf, nativeProblemOf } from "./native-problem.ts";

export interface ReferenceOptions {
  /** Its cluster and pass do not matter: both passes are computed. */
  readonly problem: Problem;
  /** Seed of the generated inputs, as for `run`. */
  readonly seed: number;
  readonly perturb?: Perturbation;
  /** Threads to use, by default as many as the machine has cores. The result does not depend on it. */
  readonly threads?: number;
  /** Ends the computation soon. */
  readonly signal?: AbortSignal;
}

/** Outputs and gradients as [head][token][width]: o, lse, dq with query heads, dk and dv with kv heads. */
export type ReferenceResult = NativeReference;

/**
 * Attention of the whole batch without parallelism, in float64, by code that the engine's kernels share nothing with. It has
 * the inputs that `run` generates for the same seed, and takes about 14 * area * heads * headDim operations of doubles.
 *
 * @throws InputError for a problem that no engine could run.
 * @throws EngineError if an argument is invalid or memory runs out.
 * @throws the signal's reason if it is aborted.
 */
export async function referenceAttention(options: ReferenceOptions): Promise<ReferenceResult> {
  const { problem, seed, perturb, threads = availableParallelism(), signal } = options;
  if (!(Number.isInteger(threads) && threads >= 1 && threads <= 1024)) {
    throw new EngineError("invalid-argument", `invalid threads: ${threads} (must be a whole number from 1 to 1024)`);
  }
  const native = { ...nativeProblemOf(problem), backward: true };
  const inputs = nativeInputsOf(problem, seed, perturb);
  return finished(() => addon().reference(native, { ...inputs, threads }), signal);
}
