import type { Environment } from "./environment.ts";
import type { TrialLog } from "./trial-log.ts";

export interface FinishedOptions {
  /** What a record is called, in the plural: `trials`. */
  readonly what: string;
  /** What is done to those that cannot be compared, and where they come from. */
  readonly anew?: { readonly done: string; readonly from: string };
  readonly onNote: ((note: string) => void) | undefined;
}

/**
 * The records of a log that belong to a plan and were made in this environment, by key, with notes on what else is there: lines that were
 * cut off, and planned records of other environments, which cannot be compared.
 */
export function finishedRecords<T extends { readonly key: string; readonly environment: string }>(
  file: string,
  log: TrialLog<T>,
  planned: ReadonlySet<string>,
  { id }: Pick<Environment, "id">,
  { what, anew = { done: "measured anew", from: "another machine or build" }, onNote }: FinishedOptions,
): Map<string, T> {
  for (const line of log.truncatedLines)
    onNote?.(`left out: line ${line} of ${file} was cut off by a run that was killed`);
  const known = log.trials.filter(({ key }) => planned.has(key));
  const finished = new Map(known.filter(({ environment }) => environment === id).map((record) => [record.key, record]));
  // A record may be there several times, of several environments.
  const others = new Set(known.map(({ key }) => key).filter((key) => !finished.has(key))).size;
  if (others > 0) onNote?.(`${anew.done}: ${others} ${what} there come from ${anew.from} and cannot be compared`);
  if (finished.size > 0) onNote?.(`resumed: ${finished.size} of ${planned.size} ${what} are already there`);
  return finished;
}
