import type { NativeRunOptions } from "./addon.ts";
import { EngineError } from "./engine-error.ts";

/** How many threads a run computes with, and where. The bits of its results depend on none of it. */
export interface ThreadOptions {
  /** Threads that compute for each rank; 1 if left out. */
  readonly threadsPerRank?: number;
  /**
   * No more threads than that compute at once, over all ranks. A rank gets at most its share of them, and at least one; where there
   * are more ranks than that, they take turns. No limit if left out.
   */
  readonly maxThreads?: number;
  /**
   * `auto` (the default) binds each computing thread to a core of its own, if this process may use as many cores and other programs
   * and runs leave them free; `none` leaves all of them to the operating system.
   */
  readonly pin?: "auto" | "none";
  /**
   * A file by which threads join a Linux control group (`tasks` or `cgroup.threads`). Computing threads join it as the run starts,
   * and are held to its share of a core; those that move data are not. None if left out.
   */
  readonly computeGroup?: string;
}

/** The threads that ran a schedule. */
export interface RunThreads {
  /** Threads that computed for each rank. */
  readonly perRank: number;
  /** Threads that computed, over all ranks. */
  readonly computing: number;
  /** Ranks that have something to send or receive have one more thread, asleep but for copying. */
  readonly communicating: number;
  /** Core of each computing thread, rank by rank; empty if they were left to the operating system. */
  readonly cores: readonly number[];
  /** Why they were; empty if they were not. */
  readonly unpinned: string;
}

/** The options as the addon takes them. Throws EngineError with code `invalid-argument`. */
export function nativeThreadsOf(options: ThreadOptions): NativeThreads {
  const { threadsPerRank = 1, maxThreads, pin = "auto", computeGroup = "" } = options;
  checkCount("threadsPerRank", threadsPerRank);
  if (maxThreads !== undefined) checkCount("maxThreads", maxThreads);
  if (pin !== "auto" && pin !== "none") {
    throw new EngineError("invalid-argument", `invalid pin: ${pin} (must be auto or none)`);
  }
  return { threadsPerRank, maxThreads: maxThreads ?? 0, pin: pin === "auto", computeGroup };
}

type NativeThreads = Pick<NativeRunOptions, "threadsPerRank" | "maxThreads" | "pin" | "computeGroup">;

function checkCount(name: string, count: number): void {
  if (Number.isInteger(count) && count >= 1 && count <= 1024) return;
  throw new EngineError("invalid-argument", `invalid ${name}: ${count} (must be a whole number from 1 to 1024)`);
}
