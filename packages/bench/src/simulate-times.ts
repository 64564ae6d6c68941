import type { Pass } from "@hsap/schedule";
import { simulate } from "@hsap/simulator";
import { InputError } from "@hsap/workload";
import { compileProblem } from "./compile-times.ts";
import { inFreshProcess } from "./fresh-process.ts";
import { median } from "./statistics.ts";
import { settledDegrees, strategyNamed } from "./strategies.ts";

/** How long one schedule takes to be simulated: `simulate` alone, from the compiled schedule. */
export interface SimulateTimes {
  readonly pack: string;
  readonly strategy: string;
  readonly pass: Pass;
  readonly ranks: number;
  /** Ops of all programs. */
  readonly ops: number;
  /** What is predicted: simulated. */
  readonly stepMs: number;
  /**
   * Processor time of the whole process, whose optimising and collecting threads count too. `first`: its first call, whose code is
   * not optimised yet and which reads the hardware files; `warm`: later ones.
   */
  readonly cpuMs: { readonly first: number; readonly warm: number };
  /** Highest resident set of the process, with the compiler and the schedule itself. */
  readonly peakMiB: number;
}

export interface SimulateTimesOptions {
  readonly strategies: readonly string[];
  /** Packs that come with the project, or drawn ones (see `compileProblem`). */
  readonly packs: readonly string[];
  readonly pass: Pass;
  /** Processes for each pack and strategy, one at a time; medians are over them. */
  readonly processes: number;
  readonly signal?: AbortSignal | undefined;
  /** `done` is the share of the work, 0 to 1. */
  readonly onProgress?: ((done: number, label: string) => void) | undefined;
}

export interface SimulateTimesReport {
  readonly rows: readonly SimulateTimes[];
  /** What a strategy cannot do, in its own words. */
  readonly refused: readonly { readonly pack: string; readonly strategy: string; readonly reason: string }[];
}

/** What one process measured. */
export type SimulateSample =
  | { readonly refused: string }
  | (Omit<SimulateTimes, "pack" | "strategy" | "pass" | "cpuMs"> & {
      readonly firstMs: number;
      readonly warmMs: readonly number[];
    });

/**
 * Times simulations in processes of their own, since only the first call of a process is first.
 *
 * @throws InputError if there is no such strategy or pack.
 * @throws Error if the package is not built: a process can start only what is.
 */
export async function measureSimulateTimes(options: SimulateTimesOptions): Promise<SimulateTimesReport> {
  const { strategies, packs, pass, processes, onProgress } = options;
  for (const strategy of strategies) strategyNamed(strategy);
  for (const pack of packs) compileProblem(pack, pass);
  const cases = packs.flatMap((pack) => strategies.map((strategy) => ({ pack, strategy })));
  const rows: SimulateTimes[] = [];
  const refused: SimulateTimesReport["refused"][number][] = [];
  for (const [i, { pack, strategy }] of cases.entries()) {
    const samples: Exclude<SimulateSample, { refused: string }>[] = [];
    for (let round = 0; round < processes; round++) {
      onProgress?.((i + round / processes) / cases.length, `${pack} ${strategy}`);
      const sample = await inFreshProcess<SimulateSample>("simulate-times", [strategy, pack, pass], options.signal);
      if ("refused" in sample) {
        refused.push({ pack, strategy, reason: sample.refused });
        break;
      }
      samples.push(sample);
    }
    if (samples.length === 0) continue;
    const { firstMs: _, warmMs: __, peakMiB: ___, ...same } = samples[0];
    rows.push({
      ...{ pack, strategy, pass, ...same },
      cpuMs: {
        first: median(samples.map(({ firstMs }) => firstMs)),
        warm: median(samples.flatMap(({ warmMs }) => warmMs)),
      },
      peakMiB: Math.max(...samples.map(({ peakMiB }) => peakMiB)),
    });
  }
  onProgress?.(1, "done");
  return { rows, refused };
}

/** What is timed after the first call: `calls` calls, fewer where they take more than `limitMs` together, but at least one. */
const warmUp = { calls: 5, limitMs: 1000 };
const timed = { calls: 11, limitMs: 3000 };

/** Compiles a strategy's schedule of a pack, and simulates it again and again. The process must not have simulated anything before. */
export function timeSimulations(strategyName: string, pack: string, pass: Pass): SimulateSample {
  const strategy = strategyNamed(strategyName);
  const problem = compileProblem(pack, pass);
  let schedule: ReturnType<typeof strategy.compile>;
  try {
    schedule = strategy.compile(problem, settledDegrees(strategy, problem, strategy.defaultDegrees(problem)));
  } catch (error) {
    if (error instanceof InputError) return { refused: error.message };
    throw error;
  }
  let stepMs = 0;
  const call = (): number => {
    const before = process.cpuUsage();
    stepMs = simulate(schedule).trace.durationUs / 1e3;
    const { user, system } = process.cpuUsage(before);
    return (user + system) / 1e3;
  };
  const firstMs = call();
  repeated(call, warmUp);
  const warmMs = repeated(call, timed);
  const peakMiB = process.resourceUsage().maxRSS / 1024;
  return { ranks: problem.cluster.ranks, ops: schedule.ops.kind.length, stepMs, firstMs, warmMs, peakMiB };
}

function repeated(call: () => number, { calls, limitMs }: typeof timed): number[] {
  const samples: number[] = [];
  for (let sum = 0; samples.length === 0 || (samples.length < calls && sum < limitMs); ) {
    samples.push(call());
    sum += samples[samples.length - 1];
  }
  return samples;
}
