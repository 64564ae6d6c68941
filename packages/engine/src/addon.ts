import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";
import type { LoweredSchedule } from "@hsap/schedule";
import { EngineError } from "./engine-error.ts";

/** What native/src/addon exports. Arguments are checked in TypeScript; the addon checks again what would crash it. */
export interface Addon {
  run(tables: LoweredSchedule, problem: NativeProblem, options: NativeRunOptions): NativeJob<NativeRunResult>;
  reference(problem: NativeProblem, options: NativeInputs & { readonly threads: number }): NativeJob<NativeReference>;
  /** Calls `afterSample` on this thread after every sample, and measures the next one once `goOn` is called. */
  bench(
    options: NativeKernelBenchOptions,
    afterSample: (done: number, total: number, goOn: () => void) => void,
  ): NativeJob<NativeKernelBench>;
  /** One step of AdamW in place, on the calling thread. */
  adamW(
    weights: Float32Array,
    gradients: Float32Array,
    first: Float32Array,
    second: Float32Array,
    options: NativeAdamW,
  ): void;
  info(): { readonly isas: Isa[]; readonly isa: Isa; readonly compiler: string; readonly buildType: string };
  /** See native/include/hsap/mpi.h; `path` is that of hsap_mpi.so. */
  mpiDescribe(path: string): { readonly library: string; readonly standard: string };
  mpiJoin(path: string, options: NativeMpiOptions): NativeMpiInfo;
  mpiBroadcast(bytes: Uint8Array, root: number): NativeJob<Uint8Array[]>;
  mpiGather(bytes: Uint8Array, root: number): NativeJob<Uint8Array[]>;
  mpiFinish(): NativeJob<Uint8Array[]>;
  mpiLeave(): void;
  mpiFail(line: string): never;
  /** One element of an input: tensor 0 q, 1 k, 2 v, 3 do. */
  inputElement(tensor: number, token: number, head: number, column: number, seed: number, bf16: boolean): number;
}

/**
 * An instruction set that the kernels are built for. `avx512bf16` is `avx512` with dot products of bf16 pairs for bf16 inputs.
 */
export type Isa = "scalar" | "avx2" | "avx512" | "avx512bf16";

export interface NativeAdamW {
  readonly learningRate: number;
  readonly beta1: number;
  readonly beta2: number;
  readonly epsilon: number;
  readonly weightDecay: number;
  readonly step: number;
}

export interface NativeKernelBenchOptions {
  readonly isas: readonly Isa[];
  readonly dtypes: readonly ("fp32" | "bf16")[];
  readonly headDims: Int32Array;
  readonly masks: readonly ("full" | "causal")[];
  readonly passes: readonly ("forward" | "backward")[];
  readonly mixes: readonly { readonly name: string; readonly lengths: Int32Array }[];
  readonly heads: number;
  readonly kvHeads: number;
  readonly repeats: number;
  readonly minSampleMs: number;
}

export interface NativeKernelBench {
  readonly peaks: readonly { readonly isa: Isa; readonly dtype: "fp32" | "bf16"; readonly gflops: number }[];
  readonly copyBandwidthGBps: number;
  readonly rows: readonly {
    readonly isa: Isa;
    readonly dtype: "fp32" | "bf16";
    readonly headDim: number;
    readonly mask: "full" | "causal";
    readonly pass: "forward" | "backward";
    readonly tokens: number;
    readonly mix: string;
    readonly gflops: number;
    readonly shareOfPeak: number;
    readonly error: number;
  }[];
}

export interface NativeProblem {
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly bf16: boolean;
  readonly causal: boolean;
  readonly backward: boolean;
  readonly cuSeqlens: Int32Array;
}

export interface NativeInputs {
  readonly seed: number;
  readonly perturb?: Perturbation;
}

/** The tokens [tokenBegin, tokenEnd) get their inputs from another seed. */
export interface Perturbation {
  readonly tokenBegin: number;
  readonly tokenEnd: number;
  readonly seed: number;
}

export interface NativeRunOptions extends NativeInputs {
  readonly isa: Isa;
  readonly alias: boolean;
  readonly linkBytesPerSecond: number;
  readonly threadsPerRank: number;
  /** 0: no limit. */
  readonly maxThreads: number;
  readonly pin: boolean;
  /** Empty: none. */
  readonly computeGroup: string;
  readonly savedO?: Float32Array;
  readonly savedLse?: Float32Array;
  readonly failAt?: { readonly rank: number; readonly op: number };
  /** This process runs its own rank only, in the MPI job that it has joined. */
  readonly overMpi?: boolean;
}

export interface NativeMpiOptions {
  readonly timeoutS: number;
  readonly pollUs: number;
  readonly collectives: boolean;
}

export interface NativeMpiInfo {
  readonly library: string;
  readonly standard: string;
  /** What the library allows threads: `serialized` or `multiple`. */
  readonly threadLevel: string;
  readonly rank: number;
  readonly ranks: number;
  /** Place among the ranks that share memory with this one, and how many they are. */
  readonly nodeRank: number;
  readonly nodeRanks: number;
  /** Host name of every rank. */
  readonly hosts: readonly string[];
}

/** Work on a thread of its own. After `abort` it soon ends with an error of code `aborted`. */
export interface NativeJob<Result> {
  readonly promise: Promise<Result>;
  readonly abort: () => void;
}

export type NativeReference = Readonly<Record<"o" | "lse" | "dq" | "dk" | "dv", Float64Array>>;

export interface NativeRunThreads {
  readonly perRank: number;
  readonly computing: number;
  readonly communicating: number;
  readonly cores: readonly number[];
  readonly unpinned: string;
}

export interface NativeRunResult {
  readonly beginUs: Float64Array;
  readonly endUs: Float64Array;
  readonly busyUs: Float64Array;
  readonly durationUs: number;
  readonly residentBytes: Float64Array;
  readonly threads: NativeRunThreads;
  /** Over the rows of the ranks that ran here (see native/include/hsap/output_digest.h). */
  readonly digestLow: bigint;
  readonly digestHigh: bigint;
  readonly o?: Float32Array;
  readonly lse?: Float32Array;
  readonly dq?: Float32Array;
  readonly dk?: Float32Array;
  readonly dv?: Float32Array;
}

// Both src and dist are direct children of the package.
const path = fileURLToPath(new URL("../../../native/build/hsap.node", import.meta.url));

let loaded: Addon | undefined;

/**
 * The native engine, loaded at first use.
 *
 * @throws EngineError with code `addon-missing` that says why it does not load and what to do.
 */
export function addon(): Addon {
  loaded ??= load();
  return loaded;
}

function load(): Addon {
  try {
    return createRequire(import.meta.url)(path) as Addon;
  } catch (error) {
    const cause = error instanceof Error ? error.message.split("\n")[0] : String(error);
    throw new EngineError("addon-missing", `cannot load ${path}: ${cause} (build it with: npm run setup)`, {
      cause: error,
    });
  }
}
