import { referenceAttention, relativeError } from "@hsap/engine";
import type { Dtype, Pass, Problem } from "@hsap/schedule";

/** The tensors that attention gives, by pass. */
export const outputNames = { forward: ["o", "lse"], backward: ["dq", "dk", "dv"] } as const;

export type OutputName = "o" | "lse" | "dq" | "dk" | "dv";

/**
 * Highest relative L2 error of an output against the float64 reference. Outputs of attention in bf16 may err by twice what
 * rounding them to bf16 errs by, 2^-9 / sqrt(3) for evenly spread mantissas, as they may travel in it; lse never does.
 */
export function errorBound(name: OutputName, dtype: Dtype): number {
  if (dtype === "bf16" && name !== "lse") return (2 * 2 ** -9) / Math.sqrt(3);
  return name === "o" || name === "lse" ? 1e-6 : 3e-6;
}

/** Relative L2 error of each output of one pass. */
export type OutputErrors = Partial<Record<OutputName, number>>;

/** The float64 reference's outputs, [head][token][width]. */
export type Expected = Readonly<Record<OutputName, Float64Array>>;

/**
 * Computes both passes of a problem without parallelism, in float64. The result does not depend on `threads`.
 *
 * @throws the signal's reason if it is aborted.
 */
export async function expectedOf(
  problem: Problem,
  seed: number,
  threads: number,
  signal?: AbortSignal,
): Promise<Expected> {
  return referenceAttention({ problem, seed, threads, ...(signal && { signal }) });
}

/** What a backward pass needs of the forward one, rounded from the float64 reference: the same for every strategy. */
export function savedFrom({ o, lse }: Pick<Expected, "o" | "lse">): { o: Float32Array; lse: Float32Array } {
  return { o: Float32Array.from(o), lse: Float32Array.from(lse) };
}

/**
 * The error of each output of one pass: relative L2, or, where the reference is exactly 0 (dq and dk of documents of one
 * token), the root mean square, as the inputs have variance 1.
 */
export function errorsOf(
  pass: Pass,
  outputs: Readonly<Record<string, Float32Array>>,
  expected: Expected,
): OutputErrors {
  const errorOf = (name: OutputName): number =>
    expected[name].some((value) => value !== 0)
      ? relativeError(outputs[name], expected[name])
      : rootMeanSquare(outputs[name]);
  return Object.fromEntries(outputNames[pass].map((name) => [name, errorOf(name)]));
}

/** The outputs whose error exceeds its bound, or is not a number. */
export function wrongOutputs(errors: OutputErrors, dtype: Dtype): OutputName[] {
  const names = Object.keys(errors) as OutputName[];
  return names.filter((name) => !((errors[name] as number) <= errorBound(name, dtype)));
}

function rootMeanSquare(values: Float32Array): number {
  return Math.sqrt(values.reduce((sum, value) => sum + value * value, 0) / values.length);
}
