import type { ThreadOptions } from "@hsap/engine";
import { InputError } from "@hsap/workload";
import type { Command } from "commander";
import { oneOf, wholeNumber } from "./option-values.ts";

/** How many threads runs on this machine compute with, as typed. */
export interface GivenThreads {
  readonly threadsPerRank?: string;
  readonly maxThreads?: string;
  readonly pin?: string;
}

/** Adds the options that say how many threads runs on this machine compute with. */
export function addThreadOptions(command: Command): Command {
  return command
    .option("--threads-per-rank <n>", "threads that compute for each rank run here (default: 1)")
    .option("--max-threads <n>", "threads that compute at once, over all ranks run here (default: no limit)")
    .option("--pin <how>", "auto binds computing threads to cores that are free, none leaves them (default: auto)");
}

/**
 * The options as the engine takes them; nothing for what was not given.
 *
 * @throws InputError if one is not valid.
 */
export function threadsOf({ threadsPerRank, maxThreads, pin }: GivenThreads): ThreadOptions {
  return {
    ...(threadsPerRank !== undefined && { threadsPerRank: threadCount("threads-per-rank", threadsPerRank) }),
    ...(maxThreads !== undefined && { maxThreads: threadCount("max-threads", maxThreads) }),
    ...(pin !== undefined && { pin: pinOf(pin) }),
  };
}

export function pinOf(pin: string | undefined): "auto" | "none" {
  return oneOf("pin", pin ?? "auto", ["auto", "none"]);
}

export function threadCount(name: string, text: string): number {
  const count = wholeNumber(name, text);
  if (count > 1024) throw new InputError(`invalid ${name}: ${text} (must be at most 1024)`);
  return count;
}
