import type { Environment } from "./environment.ts";
import { type MissingPlan, makeMissing, type ResumeOptions } from "./make-missing.ts";

/** What is to be predicted, and how. */
export interface PredictedPlan<P, T> extends Omit<MissingPlan<P, T>, "make" | "anew"> {
  readonly predict: (planned: P, environmentId: string) => T;
}

export interface Predictions<T> {
  readonly environment: Environment;
  /** In the order of the plan, also those that an earlier run predicted. */
  readonly trials: readonly T[];
  readonly predictedNow: number;
}

/**
 * Predicts what is missing of a plan and keeps it, as `makeMissing` says, but for the machine: equal code predicts the same anywhere.
 *
 * @throws InputError and the signal's reason as `makeMissing` does.
 */
export async function predictMissing<
  P extends { readonly key: string },
  T extends { readonly key: string; readonly environment: string },
>({ predict, ...plan }: PredictedPlan<P, T>, options: ResumeOptions): Promise<Predictions<T>> {
  const anew = { done: "predicted anew", from: "other code" };
  const { madeNow, ...made } = await makeMissing({ ...plan, anew, make: predict }, options);
  return { ...made, predictedNow: madeNow };
}
