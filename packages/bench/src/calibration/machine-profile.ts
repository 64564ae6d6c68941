import { availableParallelism, cpus } from "node:os";
import { engineInfo, type Isa, run } from "@hsap/engine";
import { type Dtype, lower } from "@hsap/schedule";
import {
  type OpTermKind,
  type OpTermTimes,
  opTerms,
  type RegisterTile,
  simulateThreads,
  type ThreadMachine,
} from "@hsap/simulator";
import { InputError } from "@hsap/workload";
import { median } from "../statistics.ts";
import { type MeasuredTerms, measureTerms } from "./measured-terms.ts";
import { attendSamples, elementSamples, type OpSample, unfusedSamples } from "./op-samples.ts";
import { sliceSample, turnsIn } from "./slice-sample.ts";
import { pingPong, transferSamples } from "./transfer-samples.ts";

/** What was measured of this machine: all that the simulator needs to predict a run of the engine on it. */
export interface MachineProfile {
  readonly device: string;
  readonly isa: Isa;
  readonly cores: number;
  readonly registers: RegisterTile;
  readonly terms: Readonly<Partial<Record<Dtype, Readonly<Record<OpTermKind, MeasuredTerms>>>>>;
  readonly wakeUs: number;
  readonly sliceUs: number;
  /** Highest `spread` of the attention kernels: how much the machine was disturbed meanwhile. */
  readonly spread: number;
}

export interface MeasureMachineOptions {
  /** Runs of each sample; their median counts. */
  readonly repeats?: number | undefined;
  readonly dtypes?: readonly Dtype[] | undefined;
  readonly signal?: AbortSignal | undefined;
  /** `done` is the share of the work, 0 to 1. */
  readonly onProgress?: ((done: number, label: string) => void) | undefined;
}

/** Rows and keys of a register tile of each instruction set: tileRows and width of native/src/kernels/vectors/simd_*.h. */
const registersOf: Readonly<Record<Isa, RegisterTile>> = {
  scalar: { tileRows: 4, vectorKeys: 4 },
  avx2: { tileRows: 6, vectorKeys: 8 },
  avx512: { tileRows: 12, vectorKeys: 16 },
  avx512bf16: { tileRows: 12, vectorKeys: 16 },
};

/** More spread than this says that something else ran on the machine. */
export const quietSpread = 0.15;

/**
 * Measures this machine as the engine uses it, on all cores at once: kernels by tile, all other ops, transfers, how long a
 * sleeping thread takes to wake, and how long one runs while others wait.
 *
 * @throws InputError if nothing is to be measured.
 * @throws the signal's reason if it is aborted.
 */
export async function measureMachine(options: MeasureMachineOptions = {}): Promise<MachineProfile> {
  const { repeats = 5, dtypes = ["fp32"], signal, onProgress } = options;
  if (dtypes.length === 0) throw new InputError("missing dtype: a profile needs fp32, bf16 or both");
  const { isa } = engineInfo();
  const registers = registersOf[isa];
  const cores = availableParallelism();
  const terms: Partial<Record<Dtype, Readonly<Record<OpTermKind, MeasuredTerms>>>> = {};
  for (const [i, dtype] of dtypes.entries()) {
    const samples = samplesOf({ cores, dtype });
    const within = (done: number, label: string) =>
      onProgress?.((0.95 * (i + done)) / dtypes.length, `${dtype}: ${label}`);
    const measured = await measureTerms(samples, { repeats, registers, signal, onProgress: within });
    terms[dtype] = measured as Readonly<Record<OpTermKind, MeasuredTerms>>;
  }
  onProgress?.(0.95, "wake-ups and slices");
  const sliceUs = await measureSlice(cores, signal);
  const dtype = dtypes[0];
  const awake: ThreadMachine = { cores, ...registers, wakeUs: 0, sliceUs, termNs: termTimesOf(terms) };
  const wakeUs = await measureWake(pingPong({ cores, dtype }), awake, 3 * repeats, signal);
  onProgress?.(1, "done");
  const device = cpus()[0]?.model.trim() ?? "unknown processor";
  return { device, isa, cores, registers, terms, wakeUs, sliceUs, spread: kernelSpread(terms) };
}

/** The part of a profile that predictions are made with. */
export const threadMachineOf = ({ cores, registers, terms, wakeUs, sliceUs }: MachineProfile): ThreadMachine => ({
  ...{ cores, ...registers, wakeUs, sliceUs },
  termNs: termTimesOf(terms),
});

function samplesOf(given: { readonly cores: number; readonly dtype: Dtype }): OpSample[] {
  const ofPasses = (["forward", "backward"] as const).flatMap((pass) => [
    ...attendSamples(pass, given),
    ...unfusedSamples(pass, given),
  ]);
  return [...ofPasses, ...elementSamples(given), ...transferSamples(given)];
}

function termTimesOf(terms: MachineProfile["terms"]): ThreadMachine["termNs"] {
  return Object.fromEntries(
    Object.entries(terms).map(([dtype, kinds]) => [
      dtype,
      Object.fromEntries(Object.keys(opTerms).map((kind) => [kind, kinds[kind as OpTermKind].ns])) as OpTermTimes,
    ]),
  );
}

/** What a hand-over takes longer than its threads work: found by simulating the same messages without it. */
async function measureWake(
  { schedule, handOver }: OpSample,
  machine: ThreadMachine,
  repeats: number,
  signal: AbortSignal | undefined,
): Promise<number> {
  const lowered = lower(schedule);
  const durations: number[] = [];
  for (let repeat = 0; repeat <= repeats; repeat++) {
    const { trace } = await run(schedule, {
      seed: 1,
      lowered,
      ...(handOver && { handOver }),
      ...(signal && { signal }),
    });
    if (repeat > 0) durations.push(trace.durationUs);
  }
  const durationWith = (wakeUs: number) => simulateThreads(schedule, { ...machine, wakeUs }, lowered).trace.durationUs;
  const [none, some] = [durationWith(0), durationWith(10)];
  return Math.max(0, ((median(durations) - none) / (some - none)) * 10);
}

async function measureSlice(cores: number, signal: AbortSignal | undefined): Promise<number> {
  const schedule = sliceSample(4 * cores);
  const { trace } = await run(schedule, { seed: 1, ...(signal && { signal }) });
  return median(turnsIn(schedule, trace));
}

function kernelSpread(terms: MachineProfile["terms"]): number {
  const spreads = Object.values(terms).flatMap(({ attendForward, attendBackward }) => [
    attendForward.spread,
    attendBackward.spread,
  ]);
  return Math.max(...spreads);
}
