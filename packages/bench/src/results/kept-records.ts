import { join } from "node:path";
import { type Environment, recordEnvironment } from "./environment.ts";
import { type FinishedOptions, finishedRecords } from "./finished-records.ts";
import { lockFolder } from "./folder-lock.ts";
import { type TrialLog, TrialWriter } from "./trial-log.ts";

/** The records that a results folder is to have. */
export interface KeptPlan<P, T> extends Pick<FinishedOptions, "what" | "anew"> {
  readonly environment: Environment;
  /** In the order of the results. */
  readonly planned: readonly P[];
  readonly read: (file: string) => TrialLog<T>;
}

export interface KeptRecords<T> {
  readonly environment: Environment;
  /** In the order of the plan, also those of an earlier run. */
  readonly trials: readonly T[];
  readonly madeNow: number;
}

/** A results folder, and who is told what is already there. */
export interface KeptIn extends Pick<FinishedOptions, "onNote"> {
  /** Where `trials.jsonl` and `environment.json` are, made if missing; nothing is kept where it is left out. */
  readonly folder: string | undefined;
}

/**
 * Adds to a results folder what it lacks of a plan, one record a line: `make` is given what is finished, by key, and adds the rest by
 * `keep`, which returns when a record is on the disk. Records that the folder already has, of equal inputs and an equal environment,
 * are finished.
 *
 * @throws InputError if another run writes into the folder, or the folder holds something else.
 * @throws Error if this run stood still for so long that another has taken the folder over.
 */
export async function keepRecords<
  P extends { readonly key: string },
  T extends { readonly key: string; readonly environment: string },
>(
  { environment, planned, read, what, anew }: KeptPlan<P, T>,
  { folder, onNote }: KeptIn,
  make: (finished: ReadonlyMap<string, T>, keep: (record: T) => void) => Promise<void>,
): Promise<KeptRecords<T>> {
  const keys = new Set(planned.map(({ key }) => key));
  const madeWith = async (finished: Map<string, T>, write?: (record: T) => void): Promise<KeptRecords<T>> => {
    const before = finished.size;
    await make(finished, (record) => {
      write?.(record);
      finished.set(record.key, record);
    });
    const trials = planned.map(({ key }) => finished.get(key) as T);
    return { environment, trials, madeNow: finished.size - before };
  };
  if (folder === undefined) return madeWith(new Map());
  const lock = lockFolder(folder);
  try {
    const file = join(folder, "trials.jsonl");
    const finished = finishedRecords(file, read(file), keys, environment, { what, ...(anew && { anew }), onNote });
    recordEnvironment(join(folder, "environment.json"), environment);
    const writer = new TrialWriter<T>(file, lock);
    try {
      return await madeWith(finished, (record) => writer.append(record));
    } finally {
      writer.close();
    }
  } finally {
    lock.release();
  }
}
