import {
  closeSync,
  existsSync,
  fstatSync,
  fsyncSync,
  ftruncateSync,
  openSync,
  readFileSync,
  readSync,
  writeFileSync,
} from "node:fs";
import { InputError } from "@hsap/workload";
import type { z } from "zod";
import { type Trial, trialSchema, trialSchemaVersion } from "../trial.ts";
import type { FolderLock } from "./folder-lock.ts";

export interface TrialLog<T = Trial> {
  readonly trials: readonly T[];
  /** Lines that a killed run left unfinished, counted from 1. They are no data. */
  readonly truncatedLines: readonly number[];
}

/**
 * Reads the trials of a JSONL file, none where the file does not exist. A run that was killed may have left its last line
 * unfinished; a later run then begins a new one, so such a line can stand anywhere.
 *
 * @throws InputError if a complete line is not a trial of this schema version.
 */
export function readTrials(file: string): TrialLog {
  return readLog(file, trialSchema, trialSchemaVersion);
}

/** As `readTrials`, of records that another schema describes. */
export function readLog<T>(file: string, schema: z.ZodType<T>, version: string): TrialLog<T> {
  if (!existsSync(file)) return { trials: [], truncatedLines: [] };
  const trials: T[] = [];
  const truncatedLines: number[] = [];
  for (const [index, line] of readFileSync(file, "utf8").split("\n").entries()) {
    if (line === "") continue;
    const value = parsed(line);
    if (value === undefined) truncatedLines.push(index + 1);
    else trials.push(checkedTrial(value, schema, version, `${file} line ${index + 1}`));
  }
  return { trials, truncatedLines };
}

/** Appends trials, each as one line that is on the disk when `append` returns. Nothing already written is touched. */
export class TrialWriter<T extends object = Trial> {
  readonly #path: string;
  readonly #file: number;

  /** @param lock of the folder that the file lies in: whoever lost it may not write. */
  constructor(
    path: string,
    readonly lock?: Pick<FolderLock, "confirm">,
  ) {
    this.#path = path;
    this.#file = openSync(path, "a+");
    // A line left unfinished by a killed run is closed, so that it cannot swallow the next.
    if (!endsWithNewline(this.#file)) writeFileSync(this.#file, "\n");
  }

  /**
   * @throws Error if the lock was lost to another run.
   * @throws Error if the disk does not take it, such as a full one: nothing of the trial is left in the file then.
   */
  append(trial: T): void {
    this.lock?.confirm();
    const { size } = fstatSync(this.#file);
    try {
      // Unlike writeSync, this goes on until all of it is written.
      writeFileSync(this.#file, `${JSON.stringify(trial)}\n`);
      fsyncSync(this.#file);
    } catch (error) {
      ftruncateSync(this.#file, size);
      throw new Error(`cannot write ${this.#path} (${(error as Error).message})`, { cause: error });
    }
  }

  close(): void {
    closeSync(this.#file);
  }
}

function parsed(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    // A prefix of a JSON object is never JSON itself, so what does not parse was cut off.
    return undefined;
  }
}

function checkedTrial<T>(value: unknown, schema: z.ZodType<T>, version: string, where: string): T {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const found = (value as { schema?: unknown } | null)?.schema;
  if (found !== version) {
    throw new InputError(`unknown trial schema: ${JSON.stringify(found)} at ${where} (must be ${version})`);
  }
  const [{ path, message }] = result.error.issues;
  throw new InputError(`invalid trial: ${path.join(".")} at ${where} (${message})`);
}

function endsWithNewline(file: number): boolean {
  const { size } = fstatSync(file);
  if (size === 0) return true;
  const last = Buffer.alloc(1);
  readSync(file, last, 0, 1, size - 1);
  return last[0] === 0x0a;
}
