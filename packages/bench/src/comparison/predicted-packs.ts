import { type Degrees, flopsOf, type Pass, type Problem, ranksOf, type Strategy } from "@hsap/schedule";
import { simulate } from "@hsap/simulator";
import { InputError, packNames } from "@hsap/workload";
import { strategies as allStrategies } from "../strategies.ts";
import { mostOperands } from "./comparison.ts";
import { packProblem } from "./pack-comparison.ts";
import type { PredictedLog } from "./predicted-log.ts";

/** What the simulator says of one schedule. */
export interface PredictedSchedule {
  readonly strategy: string;
  readonly degrees: Degrees;
  readonly stepMs: number;
  readonly tflopsPerDevice: number;
}

/** hsap with the degrees that it chooses, and each other strategy with those of its degrees that are fastest. */
export interface PredictedPack {
  readonly name: string;
  readonly ranks: number;
  readonly pass: Pass;
  readonly kvHeads: number;
  /** The pass spread evenly over ranks at the kernel's rate on endless tiles. */
  readonly floorMs: number;
  readonly hsap: PredictedSchedule;
  /** The fastest first; without those that cannot do the problem, or whose schedule would be too large. */
  readonly others: readonly PredictedSchedule[];
}

/** How many times as long as hsap the fastest other strategy takes, of those named if any are. Below 1, it is faster. */
export function speedupOf({ hsap, others }: PredictedPack, named?: readonly string[]): number | undefined {
  const fastest = others.find(({ strategy }) => named === undefined || named.includes(strategy));
  return fastest === undefined ? undefined : fastest.stepMs / hsap.stepMs;
}

export interface PredictedPacksOptions {
  /** Those of the registry where left out. */
  readonly strategies?: readonly Strategy[];
  /** All that come with the project where left out. */
  readonly packs?: readonly string[];
  /** Both where left out. */
  readonly passes?: readonly Pass[];
  /** 8 where left out; query heads stay 64. */
  readonly kvHeads?: readonly number[];
  /** What is known from it is not predicted again, and what is predicted goes there. */
  readonly log?: PredictedLog | undefined;
  readonly signal?: AbortSignal | undefined;
  /** `done` is the share of the work, 0 to 1. */
  readonly onProgress?: ((done: number, label: string) => void) | undefined;
}

/** Simulates all strategies on the fixed packs: hsap as it chooses by itself, each other one with all degrees that it may have. */
export async function predictPacks(given: PredictedPacksOptions = {}): Promise<PredictedPack[]> {
  const { strategies = allStrategies, packs = packNames(), passes = ["forward", "backward"], kvHeads = [8] } = given;
  const cells = kvHeads.flatMap((heads) =>
    packs.flatMap((name) => passes.map((pass) => ({ name, pass, problem: withKvHeads(packProblem(name), heads) }))),
  );
  // A simulation takes about as long as there are pairs of ranks.
  const total = cells.reduce((sum, { problem }) => sum + ranksOf(problem) ** 2, 0);
  const predicted: PredictedPack[] = [];
  let done = 0;
  for (const { name, pass, problem } of cells) {
    given.onProgress?.(done / total, `${name} ${pass}`);
    given.signal?.throwIfAborted();
    const known = given.log?.known(name, pass, problem.shape.kvHeads);
    if (known === undefined) {
      // Other work of the process, such as its progress, goes on between two packs.
      await new Promise((resolve) => setImmediate(resolve));
      const made = predictPack(name, { ...problem, pass }, strategies);
      given.log?.append(made);
      predicted.push(made);
    } else predicted.push(known);
    done += ranksOf(problem) ** 2;
  }
  given.onProgress?.(1, "done");
  return predicted.sort((a, b) => a.ranks - b.ranks || (a.name < b.name ? -1 : Number(a.name > b.name)));
}

const withKvHeads = (problem: Problem, kvHeads: number): Problem => ({
  ...problem,
  shape: { ...problem.shape, kvHeads },
});

function predictPack(name: string, problem: Problem, strategies: readonly Strategy[]): PredictedPack {
  const hsap = strategies.find((strategy) => strategy.name === "hsap");
  if (hsap === undefined) throw new InputError("missing strategy: hsap (the others are compared with it)");
  const { scheduled, floorMs } = predictSchedule(hsap, problem, hsap.defaultDegrees(problem));
  const others: PredictedSchedule[] = [];
  for (const strategy of strategies) {
    if (strategy === hsap || (strategy.estimatedOperands?.(problem) ?? 0) > mostOperands) continue;
    const predictions = strategy
      .candidateDegrees(problem)
      .map((degrees) => predictSchedule(strategy, problem, degrees).scheduled)
      .sort((a, b) => a.stepMs - b.stepMs);
    others.push(...predictions.slice(0, 1));
  }
  if (others.length === 0) throw new InputError(`no other strategy: nothing to compare hsap with on ${name}`);
  others.sort((a, b) => a.stepMs - b.stepMs);
  const { pass, shape } = problem;
  return { name, ranks: ranksOf(problem), pass, kvHeads: shape.kvHeads, floorMs, hsap: scheduled, others };
}

function predictSchedule(strategy: Strategy, problem: Problem, degrees: Degrees) {
  const { trace, floors } = simulate(strategy.compile(problem, degrees));
  const scheduled = {
    strategy: strategy.name,
    degrees,
    stepMs: trace.durationUs / 1e3,
    tflopsPerDevice: flopsOf(problem) / ranksOf(problem) / (trace.durationUs * 1e6),
  };
  return { scheduled, floorMs: floors.problemUs / 1e3 };
}
