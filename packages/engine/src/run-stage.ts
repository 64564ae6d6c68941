import { type LoweredSchedule, lower, rowsOf, type Schedule, type Trace } from "@hsap/schedule";
import { addon, type Isa, type NativeRunOptions } from "./addon.ts";
import { EngineError } from "./engine-error.ts";
import { finished } from "./native-job.ts";
import { nativeProblemOf } from "./native-problem.ts";
import { nativeOptionsOf, type RunOptions } from "./run.ts";
import type { RunThreads, ThreadOptions } from "./thread-options.ts";

/** Whole tensors by name, [column group][row][column], rows in global order. */
export type NamedTensors = Readonly<Record<string, Float32Array>>;

export interface StageOptions extends Pick<RunOptions, "isa" | "handOver" | "signal">, ThreadOptions {
  /** The lowered schedule, if the caller has it already. */
  readonly lowered?: LoweredSchedule;
}

export interface StageResult {
  readonly trace: Trace;
  /** Bytes of each rank's arena as the schedule counts them. */
  readonly arenaBytes: Float64Array;
  /** What the system has given pages for of each rank's arena, measured: all that was touched. */
  readonly residentBytes: Float64Array;
  readonly threads: RunThreads;
  readonly isa: Isa;
}

/**
 * Runs a schedule on given tensors: each rank takes its rows of the inputs from them, and puts its rows of the outputs there. Outputs
 * that are not given are dropped. Nothing else may use the arrays until the promise settles.
 *
 * @throws EngineError with code `invalid-argument` if an input is missing or an array has the wrong size, and as `run` does.
 */
export async function runStage(
  schedule: Schedule,
  tensors: NamedTensors,
  options: StageOptions = {},
): Promise<StageResult> {
  const problem = nativeProblemOf(schedule.problem);
  const { lowered = lower(schedule), signal, ...rest } = options;
  // A stage is given what a backward pass needs of the forward pass among its tensors.
  const native = nativeOptionsOf({ ...schedule.problem, pass: "forward" }, rest);
  const given: NativeRunOptions & { readonly tensors: readonly (Float32Array | null)[] } = {
    ...native,
    tensors: tensorsOf(schedule, tensors),
  };
  const { beginUs, endUs, busyUs, durationUs, residentBytes, threads } = await finished(
    () => addon().run(lowered, problem, given),
    signal,
  );
  return {
    trace: { origin: "measured", beginUs, endUs, busyUs, durationUs },
    arenaBytes: lowered.rank.arenaBytes,
    residentBytes,
    threads,
    isa: native.isa,
  };
}

function tensorsOf(schedule: Schedule, tensors: NamedTensors): (Float32Array | null)[] {
  return schedule.tensors.map((spec) => {
    if (spec.role === "internal") return null;
    const given = tensors[spec.name];
    if (given === undefined) {
      if (spec.role === "output") return null;
      throw new EngineError("invalid-argument", `missing tensor: ${spec.name} (${schedule.strategy} reads it)`);
    }
    const elements = spec.heads * spec.width * rowsOf(spec, schedule.problem);
    if (given.length === elements) return given;
    throw new EngineError(
      "invalid-argument",
      `invalid tensor: ${spec.name} has ${given.length} elements (must be ${elements})`,
    );
  });
}
