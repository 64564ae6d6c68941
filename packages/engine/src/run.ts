import { type Dtype, type LoweredSchedule, lower, type Problem, type Schedule, type Trace } from "@hsap/schedule";
import { tokensOf } from "@hsap/workload";
import { addon, type Isa, type NativeRunOptions, type NativeRunResult, type Perturbation } from "./addon.ts";
import { EngineError } from "./engine-error.ts";
import { chosenIsa } from "./engine-info.ts";
import { finished } from "./native-job.ts";
import { nativeInputsOf, nativeProblemOf } from "./native-problem.ts";
import { nativeThreadsOf, type RunThreads, type ThreadOptions } from "./thread-options.ts";

export interface RunOptions extends ThreadOptions {
  /** Seed of the generated inputs; 1 if left out. */
  readonly seed?: number;
  /** Instruction set of the kernels; `auto`, the best that this processor has for the problem's dtype, if left out. */
  readonly isa?: "auto" | Isa;
  /** `alias` (the default) gives a receiver the sender's pointer where that never changes; `copy` copies every block. Same bits. */
  readonly handOver?: "alias" | "copy";
  /** What a backward pass needs of the forward pass: `o` [heads][tokens][headDim] and `lse` [heads][tokens]. */
  readonly saved?: { readonly o: Float32Array; readonly lse: Float32Array };
  /** These tokens get their inputs from another seed. */
  readonly perturb?: Perturbation;
  /** Ends the run within a second. */
  readonly signal?: AbortSignal;
  /** The lowered schedule, if the caller has it already. */
  readonly lowered?: LoweredSchedule;
  /** For experiments: no link between two ranks is faster. */
  readonly linkBytesPerSecond?: number;
  /** For tests: this rank throws as it is about to run this op, counted from 0 in its program. */
  readonly failAt?: { readonly rank: number; readonly op: number };
}

export type OutputTensor = "o" | "lse" | "dq" | "dk" | "dv";

export interface RunResult {
  readonly trace: Trace;
  /** `o` and `lse` of a forward pass, `dq`, `dk` and `dv` of a backward pass; [head][token][width], tokens in global order. */
  readonly outputs: Readonly<Record<OutputTensor, Float32Array>>;
  /** Over the bits of all outputs, in hexadecimal: equal for equal bits, on every transport. Not cryptographic. */
  readonly digest: string;
  /** Bytes of each rank's arena as the schedule counts them: what is reserved. */
  readonly arenaBytes: Float64Array;
  /** Bytes of each rank's arena that were touched, in whole pages; 0 for ranks of other processes. What is lent by alias needs none. */
  readonly residentBytes: Float64Array;
  /** Of this process. */
  readonly threads: RunThreads;
  readonly isa: Isa;
}

/**
 * Runs a schedule: every rank computes and communicates on threads of its own in this process, inputs are generated from the seed, and nothing blocks the
 * JavaScript thread meanwhile. The tables of `lowered` must not be changed until the promise settles.
 *
 * @throws InputError for a problem that no engine could run.
 * @throws EngineError (see its codes) if the options do not fit, the program is corrupt, or a rank fails.
 * @throws the signal's reason if it is aborted.
 */
export async function run(schedule: Schedule, options: RunOptions = {}): Promise<RunResult> {
  const problem = nativeProblemOf(schedule.problem);
  const nativeOptions = nativeOptionsOf(schedule.problem, options);
  const lowered = options.lowered ?? lower(schedule);
  const result = await finished(() => addon().run(lowered, problem, nativeOptions), options.signal);
  const { beginUs, endUs, busyUs, durationUs } = result;
  const outputs = outputsOf(result);
  return {
    trace: { origin: "measured", beginUs, endUs, busyUs, durationUs },
    outputs,
    digest: digestText(result.digestLow, result.digestHigh),
    arenaBytes: lowered.rank.arenaBytes,
    residentBytes: result.residentBytes,
    threads: result.threads,
    isa: nativeOptions.isa,
  };
}

/** Options as the addon takes them, checked. */
export function nativeOptionsOf(problem: Problem, options: RunOptions): NativeRunOptions {
  const { seed = 1, handOver = "alias", perturb, linkBytesPerSecond = 0, failAt } = options;
  if (handOver !== "alias" && handOver !== "copy") {
    throw new EngineError("invalid-argument", `invalid handOver: ${handOver} (must be alias or copy)`);
  }
  if (!(Number.isFinite(linkBytesPerSecond) && linkBytesPerSecond >= 0)) {
    throw new EngineError(
      "invalid-argument",
      `invalid linkBytesPerSecond: ${linkBytesPerSecond} (must be a finite rate, or 0 for no limit)`,
    );
  }
  return {
    ...nativeInputsOf(problem, seed, perturb),
    ...(problem.pass === "backward" && savedOf(problem, options.saved)),
    isa: isaOf(options.isa ?? "auto", problem.shape.dtype),
    ...nativeThreadsOf(options),
    alias: handOver === "alias",
    linkBytesPerSecond,
    ...(failAt && { failAt }),
  };
}

function isaOf(isa: "auto" | Isa, dtype: Dtype): Isa {
  if (isa === "auto") return chosenIsa(dtype);
  const { isas } = addon().info();
  if (isas.includes(isa)) return isa;
  throw new EngineError(
    "unsupported-isa",
    `unsupported isa: ${isa} (this processor and build have ${isas.join(", ")})`,
  );
}

function savedOf(
  { batch, shape: { heads, headDim } }: Problem,
  saved: RunOptions["saved"],
): { savedO: Float32Array; savedLse: Float32Array } {
  if (saved === undefined) {
    throw new EngineError("invalid-argument", "missing saved: a backward pass needs o and lse of the forward pass");
  }
  const rows = heads * tokensOf(batch);
  if (saved.o.length !== rows * headDim || saved.lse.length !== rows) {
    throw new EngineError(
      "invalid-argument",
      `invalid saved: ${saved.o.length} and ${saved.lse.length} elements (must be ${rows * headDim} of o and ${rows} of lse)`,
    );
  }
  return { savedO: saved.o, savedLse: saved.lse };
}

/** The outputs that a run gave; empty arrays for the others. */
export function outputsOf({ o, lse, dq, dk, dv }: Partial<NativeRunResult>): RunResult["outputs"] {
  const none = new Float32Array(0);
  return { o: o ?? none, lse: lse ?? none, dq: dq ?? none, dk: dk ?? none, dv: dv ?? none };
}

/** The text of a digest that is a sum over ranks, modulo 2^64 each. */
export function digestText(low: bigint, high: bigint): string {
  return [high, low].map((word) => BigInt.asUintN(64, word).toString(16).padStart(16, "0")).join("");
}
