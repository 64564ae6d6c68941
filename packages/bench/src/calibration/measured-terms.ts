import { run } from "@hsap/engine";
import { type LoweredSchedule, lower, opKinds, type Schedule } from "@hsap/schedule";
import { groupTermsOf, type OpTermKind, opTerms, type RegisterTile, termKindOf, termsOfOp } from "@hsap/simulator";
import { tokensOf } from "@hsap/workload";
import { median } from "../statistics.ts";
import { fitErrors, nonnegativeFit } from "./nonnegative-fit.ts";
import type { OpSample } from "./op-samples.ts";

/** What the ops of a kind cost, fitted to measured samples. */
export interface MeasuredTerms {
  /** Nanoseconds of processor time by term of `opTerms`. */
  readonly ns: Readonly<Record<string, number>>;
  /** Relative errors that the terms leave of the samples: the median, and the worst, of their absolute values. */
  readonly medianError: number;
  readonly worstError: number;
  /** Spread of the samples over repeats: median of (upper - lower quartile) / median. */
  readonly spread: number;
  readonly samples: readonly {
    readonly label: string;
    readonly terms: readonly number[];
    readonly us: number;
    readonly predictedUs: number;
  }[];
}

export interface MeasureTermsOptions {
  readonly repeats: number;
  readonly registers: RegisterTile;
  readonly signal?: AbortSignal | undefined;
  /** `done` is the share of the runs, 0 to 1. */
  readonly onProgress?: ((done: number, label: string) => void) | undefined;
}

/**
 * Runs every sample once to warm up and then all of them in turn, `repeats` times, so that what disturbs the machine meanwhile
 * disturbs all alike; the median processor time of each is what its ops are fitted to.
 */
export async function measureTerms(
  samples: readonly OpSample[],
  options: MeasureTermsOptions,
): Promise<Partial<Record<OpTermKind, MeasuredTerms>>> {
  const { repeats, registers, signal, onProgress } = options;
  const prepared = samples.map((sample) => prepare(sample, registers));
  for (let repeat = 0; repeat <= repeats; repeat++) {
    for (const [i, sample] of prepared.entries()) {
      onProgress?.((repeat * samples.length + i) / ((repeats + 1) * samples.length), sample.label);
      const busyUs = await busyTimes(sample, signal);
      if (repeat === 0) continue;
      for (const { rows, us } of sample.kinds.values()) us.push(rows.reduce((sum, row) => sum + busyUs[row], 0));
    }
  }
  const fitted = (Object.keys(opTerms) as OpTermKind[]).flatMap((kind) => {
    const terms = fitKind(kind, prepared);
    return terms === undefined ? [] : [[kind, terms]];
  });
  return Object.fromEntries(fitted);
}

interface PreparedSample {
  readonly label: string;
  readonly sample: OpSample;
  readonly lowered: LoweredSchedule;
  readonly saved?: { readonly o: Float32Array; readonly lse: Float32Array };
  readonly kinds: Map<OpTermKind, { readonly rows: number[]; readonly terms: number[]; readonly us: number[] }>;
}

function prepare(sample: OpSample, registers: RegisterTile): PreparedSample {
  const { schedule, label } = sample;
  const { problem, ops } = schedule;
  const kinds: PreparedSample["kinds"] = new Map();
  for (let op = 0; op < ops.kind.length; op++) {
    const found = termsOf(schedule, op, registers);
    if (found === undefined) continue;
    const known = kinds.get(found.kind) ?? { rows: [], terms: found.terms.map(() => 0), us: [] };
    kinds.set(found.kind, known);
    known.rows.push(op);
    found.terms.forEach((count, i) => {
      known.terms[i] += count;
    });
  }
  // The one tile of a sample of transfers is not worth a look.
  if (kinds.has("group")) for (const kind of [...kinds.keys()]) if (kind !== "group") kinds.delete(kind);
  const lowered = lower(schedule);
  const rows = problem.shape.heads * tokensOf(problem.batch);
  // Any numbers do: they do not change how long anything takes.
  const saved = { o: new Float32Array(rows * problem.shape.headDim).fill(0.1), lse: new Float32Array(rows).fill(5) };
  return { label, sample, lowered, kinds, ...(problem.pass === "backward" && { saved }) };
}

function termsOf(schedule: Schedule, op: number, registers: RegisterTile) {
  const name = opKinds[schedule.ops.kind[op]];
  if (name === "send" || name === "recv") return { kind: "group" as const, terms: groupTermsOf(schedule, op) };
  const operands = schedule.ops.operandBegin[op + 1] - schedule.ops.operandBegin[op];
  if (name === "reduce" && operands === 1) return { kind: "empty" as const, terms: emptyTerms(schedule, op) };
  const kind = termKindOf(name, schedule.problem.pass);
  return kind === undefined ? undefined : { kind, terms: [...termsOfOp(schedule, op, registers)] };
}

function emptyTerms({ ops, blocks, tensors }: Schedule, op: number): number[] {
  const id = ops.operands[ops.operandBegin[op]];
  const rows = (blocks.tokenEnd[id] - blocks.tokenBegin[id]) * (blocks.headEnd[id] - blocks.headBegin[id]);
  return [1, rows * tensors[blocks.tensor[id]].width];
}

async function busyTimes({ sample, lowered, saved }: PreparedSample, signal: AbortSignal | undefined) {
  const { trace } = await run(sample.schedule, {
    seed: 1,
    lowered,
    ...(saved && { saved }),
    ...(sample.handOver && { handOver: sample.handOver }),
    ...(signal && { signal }),
  });
  return trace.busyUs;
}

function fitKind(kind: OpTermKind, prepared: readonly PreparedSample[]): MeasuredTerms | undefined {
  const observed = prepared.flatMap(({ label, kinds }) => {
    const found = kinds.get(kind);
    return found === undefined ? [] : [{ label, terms: found.terms, us: median(found.us), all: found.us }];
  });
  if (observed.length === 0) return undefined;
  const times = nonnegativeFit(observed);
  const errors = fitErrors(observed, times);
  const absolute = errors.map(Math.abs);
  return {
    ns: Object.fromEntries(opTerms[kind].map((term, i) => [term, 1e3 * times[i]])),
    medianError: median(absolute),
    worstError: Math.max(...absolute),
    spread: median(observed.map(({ all }) => spreadOf(all))),
    samples: observed.map(({ label, terms, us }, i) => ({ label, terms, us, predictedUs: us * (1 + errors[i]) })),
  };
}

/** (upper - lower quartile) / median. */
export function spreadOf(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const at = (share: number) => sorted[Math.round(share * (sorted.length - 1))];
  return (at(0.75) - at(0.25)) / median(sorted);
}
