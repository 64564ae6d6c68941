import { type KeptPlan, type KeptRecords, keepRecords } from "./kept-records.ts";

/** What a run takes that goes on where an earlier one ended. */
export interface ResumeOptions {
  /** Where `trials.jsonl` and `environment.json` are. Made if missing. */
  readonly folder: string;
  readonly arguments: readonly string[];
  readonly signal?: AbortSignal | undefined;
  /** What a person should know now, in one line. */
  readonly onNote?: ((note: string) => void) | undefined;
  readonly onProgress?: ((progress: ResumeProgress) => void) | undefined;
}

export interface ResumeProgress {
  /** The share of the work that was missing, 0 to 1. */
  readonly done: number;
  /** Also those of earlier runs. */
  readonly trials: number;
  readonly allTrials: number;
  readonly label: string;
}

/** What is to be made, and how, one record after another. */
export interface MissingPlan<P, T> extends KeptPlan<P, T> {
  /** What is missing is made in this order; in that of the results where left out. */
  readonly inOrder?: (missing: readonly P[]) => readonly P[];
  /** `tell` takes the share of this record that is done, 0 to 1. */
  readonly make: (planned: P, environmentId: string, tell: (share: number) => void) => T | Promise<T>;
  /** How long that takes, beside the others; as long as any where left out. */
  readonly weightOf?: (planned: P) => number;
  readonly labelOf: (planned: P) => string;
}

/**
 * Makes what is missing of a plan and keeps it, as `keepRecords` says.
 *
 * @throws InputError as `keepRecords` does.
 * @throws the signal's reason if it is aborted; what was made until then is kept.
 */
export function makeMissing<
  P extends { readonly key: string },
  T extends { readonly key: string; readonly environment: string },
>(
  plan: MissingPlan<P, T>,
  { folder, signal, onNote, onProgress }: Omit<ResumeOptions, "folder"> & { readonly folder?: string | undefined },
): Promise<KeptRecords<T>> {
  const { environment, planned, inOrder = (missing) => missing, make, weightOf = () => 1, labelOf } = plan;
  return keepRecords(plan, { folder, onNote }, async (finished, keep) => {
    const missing = inOrder(planned.filter(({ key }) => !finished.has(key)));
    const report = (done: number, label: string) =>
      onProgress?.({ done, trials: finished.size, allTrials: planned.length, label });
    const allWork = missing.reduce((sum, each) => sum + weightOf(each), 0);
    let work = 0;
    for (const each of missing) {
      const tell = (share: number) => report((work + share * weightOf(each)) / allWork, labelOf(each));
      tell(0);
      // Lets an interruption and the progress bar in: a prediction is one long computation.
      await new Promise(setImmediate);
      signal?.throwIfAborted();
      keep(await make(each, environment.id, tell));
      work += weightOf(each);
    }
    report(1, "");
  });
}
