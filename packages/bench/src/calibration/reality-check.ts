import { reference } from "@hsap/baselines";
import { clusterOf } from "@hsap/cluster";
import { type RunResult, run } from "@hsap/engine";
import { lower, type Pass, type Problem, type Strategy } from "@hsap/schedule";
import { simulateThreads, type ThreadMachine } from "@hsap/simulator";
import { InputError, mixPack, type PackedBatch } from "@hsap/workload";
import { collectGarbage } from "../collected-garbage.ts";
import { type Compiled, compileWith } from "../compiled.ts";
import { median } from "../statistics.ts";
import { strategies as allStrategies } from "../strategies.ts";
import { spreadOf } from "./measured-terms.ts";

/** Six packs of as many kinds of documents, small enough for a run of most strategies to take 50 to 500 ms here. */
const checkedPacks = {
  hybrid: 8192,
  instruct: 8192,
  magilaw: 8192,
  code: 4096,
  meetings: 4096,
  single: 4096,
} as const satisfies Readonly<Record<string, number>>;
export type CheckedPack = keyof typeof checkedPacks;

const shape = { heads: 8, kvHeads: 2, headDim: 64, dtype: "fp32" } as const;

/** One schedule, run here and predicted. */
export interface CheckedRow {
  readonly pack: CheckedPack;
  readonly pass: Pass;
  readonly strategy: string;
  /** Wall time: the median over repeats, and their (upper - lower quartile) / median. */
  readonly measuredMs: number;
  readonly spread: number;
  readonly predictedMs: number;
  /** (predicted - measured) / measured. */
  readonly error: number;
}

export interface RealityCheck {
  readonly ranks: number;
  readonly cores: number;
  readonly repeats: number;
  readonly rows: readonly CheckedRow[];
  readonly errors: { readonly median: number; readonly worst: number };
  /** Pairs of strategies on one pack and pass measured more than 10 % apart, and how many of them are predicted in that order. */
  readonly order: { readonly right: number; readonly pairs: number };
}

export interface RealityCheckOptions {
  readonly machine: ThreadMachine;
  readonly ranks?: number | undefined;
  readonly packs?: readonly CheckedPack[] | undefined;
  readonly passes?: readonly Pass[] | undefined;
  readonly strategies?: readonly Strategy[] | undefined;
  readonly repeats?: number | undefined;
  readonly signal?: AbortSignal | undefined;
  /** `done` is the share of the runs, 0 to 1. */
  readonly onProgress?: ((done: number, label: string) => void) | undefined;
}

/**
 * Runs every strategy on the packs and predicts each run from the profile alone: nothing of a prediction is fitted to these
 * runs. Those of one pack and pass take turns, so that what disturbs the machine meanwhile disturbs all alike.
 *
 * @throws InputError if a strategy does not take so many ranks.
 * @throws the signal's reason if it is aborted.
 */
export async function checkAgainstReality(options: RealityCheckOptions): Promise<RealityCheck> {
  const { machine, ranks = 8, repeats = 5, strategies = allStrategies, signal, onProgress } = options;
  const { packs = Object.keys(checkedPacks) as CheckedPack[], passes = ["forward", "backward"] } = options;
  const groups = packs.flatMap((pack) => passes.map((pass) => ({ pack, pass })));
  const rows: CheckedRow[] = [];
  for (const [i, { pack, pass }] of groups.entries()) {
    const batch = mixPack(pack, { tokens: checkedPacks[pack], seed: 1 });
    const compiled = strategies.map((strategy) => compileWith(strategy, problemOf(batch, pass, strategy, ranks)));
    const walls = await measuredWalls(compiled, repeats, signal, (done, of) =>
      onProgress?.((i + done) / groups.length, `${pack} ${pass}: ${strategies[of].name}`),
    );
    compiled.forEach(({ schedule, lowered }, of) => {
      const measuredMs = median(walls[of]);
      const predictedMs = simulateThreads(schedule, machine, lowered).trace.durationUs / 1e3;
      const error = predictedMs / measuredMs - 1;
      rows.push({
        pack,
        pass,
        strategy: schedule.strategy,
        measuredMs,
        spread: spreadOf(walls[of]),
        predictedMs,
        error,
      });
    });
  }
  onProgress?.(1, "done");
  return { ranks, cores: machine.cores, repeats, rows, errors: errorsOfCheck(rows), order: orderOfCheck(rows) };
}

/** The packs of that name or names, separated by commas. */
export function checkedPacksNamed(names: string): CheckedPack[] {
  return names.split(",").map((name) => {
    if (name in checkedPacks) return name as CheckedPack;
    throw new InputError(`unknown pack: ${name} (known: ${Object.keys(checkedPacks).join(", ")})`);
  });
}

/** Median and worst of the absolute errors. */
export function errorsOfCheck(rows: readonly Pick<CheckedRow, "error">[]): RealityCheck["errors"] {
  const absolute = rows.map(({ error }) => Math.abs(error));
  return { median: median(absolute), worst: Math.max(...absolute) };
}

type Ordered = Pick<CheckedRow, "pack" | "pass" | "measuredMs" | "predictedMs">;

/** Counts the pairs on one pack and pass that were measured more than 10 % apart. */
export function orderOfCheck(rows: readonly Ordered[]): RealityCheck["order"] {
  let [right, pairs] = [0, 0];
  rows.forEach((a, i) => {
    for (const b of rows.slice(i + 1)) {
      if (a.pack !== b.pack || a.pass !== b.pass) continue;
      const [fast, slow] = a.measuredMs < b.measuredMs ? [a, b] : [b, a];
      if (slow.measuredMs <= 1.1 * fast.measuredMs) continue;
      pairs++;
      if (slow.predictedMs > fast.predictedMs) right++;
    }
  });
  return { right, pairs };
}

/** Nodes of half the ranks, so that hierarchical strategies have a hierarchy; one rank for what knows no parallelism. */
function problemOf(batch: PackedBatch, pass: Pass, strategy: Strategy, ranks: number): Problem {
  const cluster =
    strategy === reference
      ? clusterOf({ ranks: 1, ranksPerNode: 1 })
      : clusterOf({ ranks, ranksPerNode: Math.max(1, Math.ceil(ranks / 2)) });
  return { batch, shape, cluster, mask: "causal", pass };
}

async function measuredWalls(
  all: readonly Compiled[],
  repeats: number,
  signal: AbortSignal | undefined,
  onRun: (done: number, of: number) => void,
): Promise<number[][]> {
  const walls: number[][] = all.map(() => []);
  const saved = new Map<string, SavedForward>();
  for (let repeat = 0; repeat <= repeats; repeat++) {
    for (const [of, { schedule, lowered }] of all.entries()) {
      onRun((repeat * all.length + of) / ((repeats + 1) * all.length), of);
      const { problem } = schedule;
      // A strategy that pads documents has a pack of its own.
      const key = problem.batch.cuSeqlens.join();
      if (problem.pass === "backward" && !saved.has(key)) saved.set(key, await forwardOf(problem, signal));
      collectGarbage();
      const forward = saved.get(key);
      const { trace } = await run(schedule, { lowered, ...(forward && { saved: forward }), ...(signal && { signal }) });
      // The first run warms up.
      if (repeat > 0) walls[of].push(trace.durationUs / 1e3);
    }
  }
  return walls;
}

type SavedForward = Pick<RunResult["outputs"], "o" | "lse">;

async function forwardOf(problem: Problem, signal: AbortSignal | undefined): Promise<SavedForward> {
  const alone: Problem = { ...problem, pass: "forward", cluster: clusterOf({ ranks: 1, ranksPerNode: 1 }) };
  const schedule = reference.compile(alone, {});
  const { o, lse } = (await run(schedule, { lowered: lower(schedule), ...(signal && { signal }) })).outputs;
  return { o, lse };
}
