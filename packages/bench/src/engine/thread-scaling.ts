import { type RunThreads, run } from "@hsap/engine";
import { flopsOf, type Pass, type Problem, ranksOf, type Strategy } from "@hsap/schedule";
import { compileWith } from "../compiled.ts";
import { type Interval, median, pairedRatio } from "../statistics.ts";

export interface ThreadScalingOptions {
  readonly strategy: Strategy;
  readonly passes: readonly Pass[];
  /** Threads per rank to compare; ratios are to the first. */
  readonly threads: readonly number[];
  /** Rounds, in each of which every number of threads runs once. */
  readonly repeats: number;
  readonly seed: number;
  readonly pin?: "auto" | "none" | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: (share: number, label: string) => void;
}

/** One pass on one number of threads. All times are measured, on the clock. */
export interface ThreadScaling {
  readonly strategy: string;
  readonly pass: Pass;
  readonly ranks: number;
  /** Per rank. */
  readonly threads: number;
  /** Median over the rounds, and every sample. */
  readonly wallMs: number;
  readonly samplesMs: readonly number[];
  /** How many times as fast as on the first number of threads: median of the rounds' ratios with its 95 % interval. */
  readonly speedup: Interval;
  /** Processor time of all computing threads, median. */
  readonly processorMs: number;
  /** 1e9 operations a second: `flopsOf` over the wall time. */
  readonly gflops: number;
  /** Whether the outputs have the bits of the first number of threads. */
  readonly sameBits: boolean;
  /** Of the last round. */
  readonly placed: RunThreads;
}

/**
 * Runs one problem with several numbers of threads per rank, interleaved.
 *
 * @throws InputError if the strategy does not support the problem.
 * @throws EngineError if a run fails.
 * @throws the signal's reason if it is aborted.
 */
export async function measureThreadScaling(problem: Problem, options: ThreadScalingOptions): Promise<ThreadScaling[]> {
  const { strategy, passes, threads, repeats, seed, pin, signal, onProgress } = options;
  const common = { seed, ...(pin && { pin }), ...(signal && { signal }) };
  const rows: ThreadScaling[] = [];
  const runs = passes.length * threads.length * repeats;
  let done = 0;
  for (const pass of passes) {
    const { schedule, lowered } = compileWith(strategy, { ...problem, pass });
    const saved = pass === "backward" ? await savedOf(problem, options) : undefined;
    const samples = threads.map(() => ({ wallMs: [] as number[], processorMs: [] as number[] }));
    const digests: string[] = [];
    const placed: RunThreads[] = [];
    for (let round = 0; round < repeats; round++) {
      for (const [i, threadsPerRank] of threads.entries()) {
        const result = await run(schedule, { ...common, lowered, threadsPerRank, ...(saved && { saved }) });
        samples[i].wallMs.push(result.trace.durationUs / 1e3);
        samples[i].processorMs.push(result.trace.busyUs.reduce((sum, us) => sum + us, 0) / 1e3);
        digests[i] = result.digest;
        placed[i] = result.threads;
        onProgress?.(++done / runs, `${pass}, ${threadsPerRank} threads`);
      }
    }
    const flops = flopsOf({ ...problem, pass });
    for (const [i, { wallMs, processorMs }] of samples.entries()) {
      rows.push({
        strategy: strategy.name,
        pass,
        ranks: ranksOf(problem),
        threads: threads[i],
        wallMs: median(wallMs),
        samplesMs: wallMs,
        speedup: pairedRatio(samples[0].wallMs, wallMs),
        processorMs: median(processorMs),
        gflops: flops / (median(wallMs) * 1e6),
        sameBits: digests[i] === digests[0],
        placed: placed[i],
      });
    }
  }
  return rows;
}

/** What a backward pass needs of the forward pass. */
async function savedOf(problem: Problem, { strategy, seed, signal }: ThreadScalingOptions) {
  const { schedule, lowered } = compileWith(strategy, { ...problem, pass: "forward" });
  return (await run(schedule, { seed, lowered, ...(signal && { signal }) })).outputs;
}
