import { InputError } from "@hsap/workload";
import { addon, type Isa, type NativeKernelBench } from "./addon.ts";
import { EngineError } from "./engine-error.ts";
import { finished } from "./native-job.ts";

/** Documents that are computed by one call of a kernel, lengths in tokens; a single document is a mix of one length. */
export interface LengthMix {
  readonly name: string;
  readonly lengths: ArrayLike<number>;
}

export interface KernelBenchOptions {
  /** Which instruction sets, by default all that this processor has. fp32 on `avx512bf16` is left out: it is that of `avx512`. */
  readonly isas?: readonly Isa[];
  readonly dtypes: readonly ("fp32" | "bf16")[];
  readonly headDims: readonly number[];
  readonly masks: readonly ("full" | "causal")[];
  readonly passes: readonly ("forward" | "backward")[];
  readonly mixes: readonly LengthMix[];
  /** Query heads; 1 if left out. */
  readonly heads?: number;
  /** Key and value heads, each shared by a group of query heads; must divide them. 1 if left out. */
  readonly kvHeads?: number;
  /** How often every case is sampled; medians are kept. */
  readonly repeats: number;
  /** A sample repeats its call until it has taken this long (CPU time); 20 if left out. */
  readonly minSampleMs?: number;
  /** Called after every sample. */
  readonly onProgress?: (done: number, total: number) => void;
  /**
   * Called after every round, in which each case was sampled once; measuring goes on when its promise is kept, so that what it
   * measures is interleaved with the kernels.
   */
  readonly afterRound?: (round: number) => Promise<void>;
  /** Ends the benchmark after the sample that runs. */
  readonly signal?: AbortSignal;
}

/**
 * Rates are GFLOP/s (1e9) of one thread, by CPU time, with `4 * area * heads * headDim` operations forward and 2.5 times that
 * backward. `shareOfPeak` is the median of the samples' shares of the multiply-add peak measured directly before and after each;
 * `error` is relative L2 against float64, of o or the worst of dq, dk and dv, over the first 768 tokens of the mix.
 */
export type KernelBench = NativeKernelBench;
export type KernelBenchRow = KernelBench["rows"][number];

/**
 * Measures the native kernels against the peak of this processor, in one process and one run, one thread.
 *
 * @throws InputError if a list is empty, a number is not a positive int32, or this processor lacks an instruction set.
 * @throws EngineError if memory runs out.
 * @throws the signal's reason if it is aborted, or what `afterRound` throws.
 */
export async function benchKernels(options: KernelBenchOptions): Promise<KernelBench> {
  const { isas = [], dtypes, headDims, masks, passes, mixes, repeats, onProgress, signal } = options;
  const { heads = 1, kvHeads = 1, minSampleMs = 20 } = options;
  for (const [name, list] of Object.entries({ dtypes, headDims, masks, passes, mixes })) {
    if (list.length === 0) throw new InputError(`missing ${name}: a benchmark needs at least 1`);
  }
  for (const headDim of headDims) checkCount("headDim", headDim);
  for (const [name, count] of Object.entries({ heads, kvHeads, repeats })) checkCount(name, count);
  for (const { name, lengths } of mixes)
    for (const length of Array.from(lengths)) checkCount(`length in ${name}`, length);
  const native = {
    ...{ isas, dtypes, masks, passes, heads, kvHeads, repeats, minSampleMs },
    headDims: Int32Array.from(headDims),
    mixes: mixes.map(({ name, lengths }) => ({ name, lengths: Int32Array.from(lengths) })),
  };

  const failure = new AbortController();
  const afterSample = async (done: number, total: number, goOn: () => void): Promise<void> => {
    // Nothing may be thrown into the addon, which called this.
    try {
      onProgress?.(done, total);
      const cases = total / repeats;
      if (done % cases === 0) await options.afterRound?.(done / cases);
      goOn();
    } catch (error) {
      failure.abort(error);
    }
  };
  const signals = signal === undefined ? failure.signal : AbortSignal.any([signal, failure.signal]);
  try {
    return await finished(
      () => addon().bench(native, (done, total, goOn) => void afterSample(done, total, goOn)),
      signals,
    );
  } catch (error) {
    // The addon refuses what only it can judge, such as an instruction set that this processor lacks.
    if (error instanceof EngineError && error.code === "invalid-argument") throw new InputError(error.message);
    throw error;
  }
}

function checkCount(name: string, value: number): void {
  if (Number.isInteger(value) && value >= 1 && value < 2 ** 31) return;
  throw new InputError(`invalid ${name}: ${value} (must be a whole number from 1 to ${2 ** 31 - 1})`);
}
