import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { documentsOf, percentile, tokensOf } from "@hsap/workload";
import { packProblem } from "./comparison/pack-comparison.ts";
import { settledDegrees, strategyNamed } from "./strategies.ts";

/** Milliseconds on the clock, nearest rank. */
export interface Percentiles {
  readonly p50: number;
  readonly p95: number;
}

/** How long one strategy takes to choose its degrees and to compile a fixed pack, forward. */
export interface CompileTimes {
  readonly pack: string;
  readonly ranks: number;
  readonly documents: number;
  readonly tokens: number;
  readonly compileMs: {
    /** The first call in a process, whose code is not optimised yet: one sample for each process. */
    readonly cold: Percentiles;
    /** Later calls in the same processes, after `warmUpCalls`. Nothing is reused from call to call. */
    readonly warm: Percentiles;
  };
}

export interface CompileTimesOptions {
  readonly strategy: string;
  readonly packs: readonly string[];
  /** How many processes are started for each pack, one at a time, the packs in turn. */
  readonly processes: number;
  readonly signal?: AbortSignal | undefined;
  /** `done` is the share of the work, 0 to 1. */
  readonly onProgress?: ((done: number, label: string) => void) | undefined;
}

/** Calls after the first one that are not counted as warm, and calls that then are. */
export const warmUpCalls = 5;
export const warmCalls = 10;

/**
 * Times compilation in processes of their own, since only the first call of a process is cold.
 *
 * @throws InputError if there is no such strategy or pack.
 * @throws Error if the package is not built: a process can start only what is.
 */
export async function measureCompileTimes(options: CompileTimesOptions): Promise<CompileTimes[]> {
  const { strategy, packs, processes, signal, onProgress } = options;
  strategyNamed(strategy);
  const problems = packs.map((pack) => ({ pack, problem: packProblem(pack), samples: [] as number[][] }));
  for (let round = 0; round < processes; ++round) {
    for (const [i, { pack, samples }] of problems.entries()) {
      onProgress?.((round * packs.length + i) / (processes * packs.length), pack);
      samples.push(await inFreshProcess(strategy, pack, signal));
    }
  }
  onProgress?.(1, "done");
  return problems.map(({ pack, problem: { batch, cluster }, samples }) => ({
    pack,
    ranks: cluster.ranks,
    documents: documentsOf(batch),
    tokens: tokensOf(batch),
    compileMs: {
      cold: percentilesOf(samples.map(([first]) => first)),
      warm: percentilesOf(samples.flatMap((calls) => calls.slice(1 + warmUpCalls))),
    },
  }));
}

/** Milliseconds of each of `calls` compilations of a pack in this process, in their order. */
export function timeCompilations(strategyName: string, pack: string, calls: number): number[] {
  const strategy = strategyNamed(strategyName);
  const problem = packProblem(pack);
  return Array.from({ length: calls }, () => {
    const began = performance.now();
    strategy.compile(problem, settledDegrees(strategy, problem, strategy.defaultDegrees(problem)));
    return performance.now() - began;
  });
}

async function inFreshProcess(strategy: string, pack: string, signal: AbortSignal | undefined): Promise<number[]> {
  // Both src and dist are direct children of the package.
  const [program, built] = ["../bin/compile-times.js", "../dist/compile-times.js"].map((path) =>
    fileURLToPath(new URL(path, import.meta.url)),
  );
  if (!existsSync(built)) throw new Error("the package bench is not built (run npm run setup first)");
  const parameters = [program, strategy, pack, String(1 + warmUpCalls + warmCalls)];
  const { stdout } = await promisify(execFile)(process.execPath, parameters, signal ? { signal } : {});
  return JSON.parse(stdout) as number[];
}

function percentilesOf(values: readonly number[]): Percentiles {
  const sorted = Float64Array.from(values).sort();
  return { p50: percentile(sorted, 50), p95: percentile(sorted, 95) };
}
