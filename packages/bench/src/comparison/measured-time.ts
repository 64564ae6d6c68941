import type { ThreadOptions } from "@hsap/engine";
import { flopsOf } from "@hsap/schedule";
import { type Expected, errorsOf, expectedOf, type OutputErrors, savedFrom, wrongOutputs } from "../accuracy.ts";
import { collectGarbage } from "../collected-garbage.ts";
import type { Compiled } from "../compiled.ts";
import { criticalPathMs } from "../critical-path.ts";
import { processorTimeOf } from "../processor-time.ts";
import { type RunSchedule, runHere } from "../run-schedule.ts";
import { median } from "../statistics.ts";

/** What one schedule took on this machine: medians over repeats. */
export interface MeasuredTime {
  readonly wallMs: number;
  /** See `criticalPathMs`: a core for each computing thread, and free transfers. */
  readonly criticalPathMs: number;
  /** Processor time of all ranks' computation together. */
  readonly computationMs: number;
  readonly repeats: number;
  /** Threads that computed for each rank. */
  readonly threadsPerRank: number;
  /** Relative L2 error of each output against non-parallel attention in float64. */
  readonly errors: OutputErrors;
  /** What is wrong with the outputs, if anything. */
  readonly fault?: string;
}

export interface MeasureOptions {
  readonly repeats: number;
  readonly seed: number;
  readonly threads?: ThreadOptions | undefined;
  /** Runs the schedules; threads of this process where left out. */
  readonly run?: RunSchedule | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly onRun?: ((variant: number) => void) | undefined;
}

/**
 * Runs every schedule once to warm up and to check its outputs, then all of them in turn, `repeats` times: what disturbs the
 * machine meanwhile disturbs all of them alike.
 */
export async function measureAll(all: readonly Compiled[], options: MeasureOptions): Promise<MeasuredTime[]> {
  const { repeats, seed, threads, run = runHere, signal, onRun } = options;
  const references = new Map<string, Promise<Expected>>();
  const expectedFor = ({ schedule: { problem } }: Compiled): Promise<Expected> => {
    // A strategy that pads documents has a problem of its own.
    const key = problem.batch.cuSeqlens.join();
    const known = references.get(key) ?? expectedOf(problem, seed, 2, signal);
    references.set(key, known);
    return known;
  };
  // The same arrays in every run: ranks that are processes are given them once.
  const savedOf = new Map<Expected, ReturnType<typeof savedFrom>>();
  const savedFor = async (compiled: Compiled): Promise<ReturnType<typeof savedFrom>> => {
    const expected = await expectedFor(compiled);
    const saved = savedOf.get(expected) ?? savedFrom(expected);
    savedOf.set(expected, saved);
    return saved;
  };
  const runOnce = async (compiled: Compiled, knownDigest?: string) => {
    const { schedule } = compiled;
    const saved = schedule.problem.pass === "backward" ? { saved: await savedFor(compiled) } : {};
    const known = knownDigest === undefined ? {} : { knownDigest };
    return run(compiled, { ...threads, seed, ...saved, ...known, ...(signal && { signal }) });
  };
  const warm: { errors: OutputErrors; digest: string }[] = [];
  for (const [i, compiled] of all.entries()) {
    onRun?.(i);
    const { outputs, digest } = await runOnce(compiled);
    warm.push({ digest, errors: errorsOf(compiled.schedule.problem.pass, outputs, await expectedFor(compiled)) });
  }
  const samples = all.map(() => ({
    wall: [] as number[],
    critical: [] as number[],
    computation: [] as number[],
    same: true,
    threadsPerRank: 1,
  }));
  for (let repeat = 0; repeat < repeats; repeat++) {
    for (const [i, compiled] of all.entries()) {
      onRun?.(i);
      collectGarbage();
      const { trace, digest, threads: ran } = await runOnce(compiled, warm[i].digest);
      samples[i].wall.push(trace.durationUs / 1000);
      samples[i].critical.push(criticalPathMs(compiled.schedule, trace, ran.perRank));
      const { computation } = processorTimeOf(compiled.schedule, trace);
      samples[i].computation.push(computation.reduce((sum, ms) => sum + ms, 0));
      samples[i].same &&= digest === warm[i].digest;
      samples[i].threadsPerRank = ran.perRank;
    }
  }
  return all.map(({ schedule }, i) => {
    const { wall, critical, computation, same, threadsPerRank } = samples[i];
    const { errors } = warm[i];
    const [wrong] = wrongOutputs(errors, schedule.problem.shape.dtype);
    const fault = wrong ? `error of ${wrong} is ${errors[wrong]?.toExponential(1)}` : same ? undefined : "other bits";
    return {
      wallMs: median(wall),
      criticalPathMs: median(critical),
      computationMs: median(computation),
      repeats,
      threadsPerRank,
      errors,
      ...(fault !== undefined && { fault }),
    };
  });
}

/**
 * The highest rate at which any of the schedules computed, in 1e12 operations a second of one core's processor time, all ops of the
 * computation lane counted: what `computeFloorMs` needs for a bound that this machine can come near.
 */
export function bestTeraflops(all: readonly Compiled[], measured: readonly MeasuredTime[]): number {
  return Math.max(...all.map(({ schedule }, i) => flopsOf(schedule.problem) / (measured[i].computationMs * 1e9)));
}
