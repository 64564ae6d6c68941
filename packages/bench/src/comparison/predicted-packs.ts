import { type Degrees, flopsOf, type Pass, type Problem, ranksOf, type Strategy } from "@hsap/schedule";
import { simulate } from "@hsap/simulator";
import { InputError, packNames } from "@hsap/workload";
import { strategies as allStrategies } from "../strategies.ts";
import { mostOperands } from "./comparison.ts";
import { packProblem } from "./pack-comparison.ts";

/** What the simulator says of one schedule. */
export interface PredictedSchedule {
  readonly strategy: string;
  readonly degrees: Degrees;
  readonly stepMs: number;
  readonly tflopsPerDevice: number;
}

/** hsap with the degrees that it chooses, and the fastest of all others with any degrees that they may have. */
export interface PredictedPack {
  readonly name: string;
  readonly ranks: number;
  readonly pass: Pass;
  /** The pass spread evenly over ranks at the kernel's rate on endless tiles. */
  readonly floorMs: number;
  readonly hsap: PredictedSchedule;
  readonly fastestOther: PredictedSchedule;
  /** fastestOther.stepMs / hsap.stepMs. Below 1, another strategy is faster. */
  readonly speedup: number;
}

export interface PredictedPacksOptions {
  /** Those of the registry where left out. */
  readonly strategies?: readonly Strategy[];
  /** All that come with the project where left out. */
  readonly packs?: readonly string[];
  /** Both where left out. */
  readonly passes?: readonly Pass[];
  /** 8 where left out; query heads stay 64. */
  readonly kvHeads?: number | undefined;
  readonly signal?: AbortSignal | undefined;
  /** `done` is the share of the work, 0 to 1. */
  readonly onProgress?: ((done: number, label: string) => void) | undefined;
}

/** Simulates all strategies on the fixed packs: hsap as it chooses by itself, each other one with all degrees that it may have. */
export async function predictPacks(given: PredictedPacksOptions = {}): Promise<PredictedPack[]> {
  const { strategies = allStrategies, packs = packNames(), passes = ["forward", "backward"], kvHeads = 8 } = given;
  const cells = packs.flatMap((name) => passes.map((pass) => ({ name, pass, problem: packProblem(name) })));
  // A simulation takes about as long as there are pairs of ranks.
  const total = cells.reduce((sum, { problem }) => sum + ranksOf(problem) ** 2, 0);
  const predicted: PredictedPack[] = [];
  let done = 0;
  for (const { name, pass, problem: forward } of cells) {
    given.onProgress?.(done / total, `${name} ${pass}`);
    given.signal?.throwIfAborted();
    // Other work of the process, such as its progress, goes on between two packs.
    await new Promise((resolve) => setImmediate(resolve));
    const problem = { ...forward, pass, shape: { ...forward.shape, kvHeads } };
    predicted.push(predictPack(name, problem, strategies));
    done += ranksOf(problem) ** 2;
  }
  given.onProgress?.(1, "done");
  return predicted.sort((a, b) => a.ranks - b.ranks || (a.name < b.name ? -1 : Number(a.name > b.name)));
}

function predictPack(name: string, problem: Problem, strategies: readonly Strategy[]): PredictedPack {
  const hsap = strategies.find((strategy) => strategy.name === "hsap");
  if (hsap === undefined) throw new InputError("missing strategy: hsap (the others are compared with it)");
  const own = predictSchedule(hsap, problem, hsap.defaultDegrees(problem));
  let fastest: PredictedSchedule | undefined;
  for (const strategy of strategies) {
    if (strategy === hsap || (strategy.estimatedOperands?.(problem) ?? 0) > mostOperands) continue;
    for (const degrees of strategy.candidateDegrees(problem)) {
      const { scheduled } = predictSchedule(strategy, problem, degrees);
      if (fastest === undefined || scheduled.stepMs < fastest.stepMs) fastest = scheduled;
    }
  }
  if (fastest === undefined) throw new InputError(`no other strategy: nothing to compare hsap with on ${name}`);
  const { scheduled, floorMs } = own;
  const speedup = fastest.stepMs / scheduled.stepMs;
  return {
    name,
    ranks: ranksOf(problem),
    pass: problem.pass,
    floorMs,
    hsap: scheduled,
    fastestOther: fastest,
    speedup,
  };
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
