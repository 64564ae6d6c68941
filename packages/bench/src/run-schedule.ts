import { type RunOptions, type RunResult, run } from "@hsap/engine";
import type { Compiled } from "./compiled.ts";

export interface RunScheduleOptions extends Omit<RunOptions, "lowered"> {
  /** Outputs with this digest are known: where ranks are processes, they are not gathered again. */
  readonly knownDigest?: string;
}

/** Runs a compiled schedule: on threads of this process, or on the ranks of a job. */
export type RunSchedule = (compiled: Compiled, options: RunScheduleOptions) => Promise<RunResult>;

/** Ranks are threads of this process. */
export const runHere: RunSchedule = ({ schedule, lowered }, { knownDigest: _, ...options }) =>
  run(schedule, { ...options, lowered });
