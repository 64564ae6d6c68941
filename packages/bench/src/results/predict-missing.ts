import { join } from "node:path";
import { type Environment, recordEnvironment } from "./environment.ts";
import { finishedRecords } from "./finished-records.ts";
import { lockFolder } from "./folder-lock.ts";
import { type TrialLog, TrialWriter } from "./trial-log.ts";

export interface PredictOptions {
  /** Where `trials.jsonl` and `environment.json` are. Made if missing. */
  readonly folder: string;
  readonly arguments: readonly string[];
  readonly signal?: AbortSignal | undefined;
  /** What a person should know now, in one line. */
  readonly onNote?: ((note: string) => void) | undefined;
  readonly onProgress?: ((progress: PredictProgress) => void) | undefined;
}

export interface PredictProgress {
  /** The share of the work, 0 to 1. */
  readonly done: number;
  readonly trials: number;
  readonly allTrials: number;
  readonly label: string;
}

/** What is to be predicted, and how. */
export interface PredictedPlan<P, T> {
  readonly environment: Environment;
  /** In the order of the results. */
  readonly planned: readonly P[];
  /** What is missing is predicted in this order. */
  readonly inOrder: (missing: readonly P[]) => readonly P[];
  readonly read: (file: string) => TrialLog<T>;
  readonly predict: (planned: P, environmentId: string) => T;
  /** How long that takes, beside the others. */
  readonly weightOf: (planned: P) => number;
  readonly labelOf: (planned: P) => string;
  /** What a record is called, in the plural: `steps`. */
  readonly what: string;
}

export interface Predictions<T> {
  readonly environment: Environment;
  /** In the order of the plan, also those that an earlier run predicted. */
  readonly trials: readonly T[];
  readonly predictedNow: number;
}

/**
 * Predicts what is missing of a plan and appends it to the results folder, one record a line. Records that the folder already has, of equal
 * inputs and equal code, are not predicted again, whatever the machine.
 *
 * @throws InputError if another run writes into the folder, or the folder holds something else.
 * @throws the signal's reason if it is aborted; what was predicted until then is kept.
 */
export async function predictMissing<
  P extends { readonly key: string },
  T extends { readonly key: string; readonly environment: string },
>(
  { environment, planned, inOrder, read, predict, weightOf, labelOf, what }: PredictedPlan<P, T>,
  { folder, signal, onNote, onProgress }: PredictOptions,
): Promise<Predictions<T>> {
  const lock = lockFolder(folder);
  try {
    const file = join(folder, "trials.jsonl");
    const finished = finishedRecords(file, read(file), new Set(planned.map(({ key }) => key)), environment, {
      ...{ what, anew: { done: "predicted anew", from: "other code" }, onNote },
    });
    const before = finished.size;
    recordEnvironment(join(folder, "environment.json"), environment);
    const writer = new TrialWriter<T>(file, lock);
    const missing = inOrder(planned.filter(({ key }) => !finished.has(key)));
    const allWork = missing.reduce((sum, each) => sum + weightOf(each), 0);
    let work = 0;
    try {
      for (const each of missing) {
        onProgress?.({
          done: work / allWork,
          trials: finished.size,
          allTrials: planned.length,
          label: labelOf(each),
        });
        // Lets an interruption and the progress bar in: predicting is one long computation.
        await new Promise(setImmediate);
        signal?.throwIfAborted();
        const trial = predict(each, environment.id);
        writer.append(trial);
        finished.set(trial.key, trial);
        work += weightOf(each);
      }
    } finally {
      writer.close();
    }
    onProgress?.({ done: 1, trials: finished.size, allTrials: planned.length, label: "" });
    const trials = planned.map(({ key }) => finished.get(key) as T);
    return { environment, trials, predictedNow: finished.size - before };
  } finally {
    lock.release();
  }
}
