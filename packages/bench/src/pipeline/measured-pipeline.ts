import { run } from "@hsap/engine";
import { type LoweredSchedule, lower, type Problem, type Schedule, type Strategy, type Trace } from "@hsap/schedule";

/** From begin to end, in milliseconds since the first compilation began. */
export interface Span {
  readonly beginMs: number;
  readonly endMs: number;
}

/** One step: its schedule, compiled while the step before ran, and what running it took. */
export interface PipelineStep {
  readonly compile: Span;
  readonly execute: Span;
  readonly schedule: Schedule;
  readonly trace: Trace;
}

export interface PipelineOptions {
  readonly strategy: Strategy;
  /** Forward problems, one for each step. */
  readonly problems: readonly Problem[];
  readonly seed?: number;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Runs steps just in time: while the engine's threads execute one step, this thread compiles the next one for its own
 * documents. Compiling includes lowering: all that stands between a batch and its execution. The compiler has seen the
 * first batch once before the clock starts, as it has in any step but a process's first.
 */
export async function measurePipeline({
  strategy,
  problems,
  seed = 1,
  signal,
}: PipelineOptions): Promise<PipelineStep[]> {
  lower(strategy.compile(problems[0], strategy.defaultDegrees(problems[0])));
  const began = performance.now();
  const now = (): number => performance.now() - began;
  const compile = (problem: Problem): CompiledStep => {
    const beginMs = now();
    const schedule = strategy.compile(problem, strategy.defaultDegrees(problem));
    const lowered = lower(schedule);
    return { schedule, lowered, compile: { beginMs, endMs: now() } };
  };
  const steps: PipelineStep[] = [];
  let next = compile(problems[0]);
  for (let index = 0; index < problems.length; index++) {
    const current = next;
    const beginMs = now();
    const running = run(current.schedule, { seed, lowered: current.lowered, ...(signal && { signal }) });
    if (index + 1 < problems.length) next = compile(problems[index + 1]);
    const { trace } = await running;
    const { schedule } = current;
    steps.push({ compile: current.compile, execute: { beginMs, endMs: now() }, schedule, trace });
  }
  return steps;
}

interface CompiledStep {
  readonly schedule: Schedule;
  readonly lowered: LoweredSchedule;
  readonly compile: Span;
}
