import type { Schedule, Trace } from "@hsap/schedule";

/** From begin to end, in milliseconds since the first compilation began. */
export interface Span {
  readonly beginMs: number;
  readonly endMs: number;
}

/** One step of a training loop: its schedule, when it was compiled, when it ran and what its ranks did then. */
export interface PipelineStep {
  readonly compile: Span;
  readonly execute: Span;
  readonly schedule: Schedule;
  readonly trace: Trace;
}
