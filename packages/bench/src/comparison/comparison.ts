import { balancedBoundBytes, computeFloorMs, slowLinkBoundBytes } from "@hsap/baselines";
import { nodesOf } from "@hsap/cluster";
import type { ThreadOptions } from "@hsap/engine";
import { type Degrees, type Problem, publishedOptions, type Strategy, type StrategyOptions } from "@hsap/schedule";
import { type Hardware, hardwareOf, type RankBreakdown, type Simulation, simulate } from "@hsap/simulator";
import { InputError, tokensOf } from "@hsap/workload";
import { type Compiled, compileWith } from "../compiled.ts";
import type { RunSchedule } from "../run-schedule.ts";
import { variantName } from "../trial.ts";
import { bestTeraflops, type MeasuredTime, measureAll } from "./measured-time.ts";
import { type Waste, wasteOf } from "./waste.ts";

/** What the simulator says of one schedule on the cluster of its problem. */
export interface PredictedTime {
  readonly stepMs: number;
  /** What ranks do in the step: means over them, which add up to it. */
  readonly computingMs: number;
  readonly exposedCommunicationMs: number;
  readonly waitingMs: number;
  /** The exposed communication by the outermost level that it uses, innermost first. */
  readonly exposedByLevelMs: readonly number[];
  /** The kernel's name in the hardware file. */
  readonly kernel: string;
}

/**
 * One strategy on the problem that all are compared on. Everything but `measured` and `predicted`, which is simulated, is counted
 * from its schedule.
 */
export interface ComparedStrategy extends Waste {
  readonly strategy: string;
  /** With degrees and options, where they say something. */
  readonly variant: string;
  readonly degrees: Degrees;
  readonly options: StrategyOptions;
  /** Highest rank / mean over ranks. */
  readonly balance: { readonly area: number; readonly tokens: number };
  /** By rank; `total` of all. */
  readonly receivedBytes: { readonly total: number; readonly mean: number; readonly max: number };
  readonly betweenNodesBytes: number;
  /** Innermost level first. */
  readonly bytesByLevel: readonly number[];
  /** By rank. */
  readonly peakBytes: { readonly mean: number; readonly max: number };
  /** Tokens that the schedule has more than the problem. */
  readonly paddingTokens: number;
  /** (query, key, head) triples of all ranks, with what is computed for nothing. */
  readonly area: number;
  /** One line for each rule that the schedule breaks. */
  readonly findings: readonly string[];
  readonly measured?: MeasuredTime;
  readonly predicted?: PredictedTime;
}

/** What no strategy that computes an equal share on every rank and splits no heads can go below. */
export interface ComparisonBounds {
  /** Mean over ranks; `balancedBoundBytes`. */
  readonly receivedBytesMean: number;
  /** Into all nodes together; `slowLinkBoundBytes` times the nodes. */
  readonly betweenNodesBytes: number;
  /** Of the critical path: the pass spread evenly over ranks at the highest rate that any strategy had. Where measured. */
  readonly computeFloorMs?: number;
  /** Of the predicted time: no strategy can be simulated to be faster. Where predicted. */
  readonly predictedFloorMs?: number;
}

export interface LeftOut {
  readonly strategy: string;
  readonly reason: string;
}

export interface Comparison {
  readonly problem: Problem;
  readonly bounds: ComparisonBounds;
  /** By critical path where measured, by predicted time where only predicted, otherwise by the highest rank's received bytes. */
  readonly rows: readonly ComparedStrategy[];
  /** Strategies that do not support the problem, in their own words. */
  readonly refused: readonly LeftOut[];
  /** Strategies whose schedule would be too large. */
  readonly tooLarge: readonly LeftOut[];
}

export interface ComparisonOptions {
  readonly strategies: readonly Strategy[];
  /** The strategy's own choice where left out. */
  readonly degrees?: Degrees | undefined;
  readonly options?: StrategyOptions | undefined;
  /** Each strategy does what the published system does with packs, right or wrong. */
  readonly faithful?: boolean | undefined;
  /** Compile also what is estimated to have more than `mostOperands`. */
  readonly all?: boolean | undefined;
  readonly memoryCapBytes?: number | undefined;
  /** Simulates each schedule on the problem's cluster. */
  readonly predict?: boolean | undefined;
  /** What to simulate with; what is known of the cluster's device where left out. */
  readonly hardware?: Hardware | undefined;
  /** Measures each schedule as often. Schedules that break another rule than contamination are not run. */
  readonly repeats?: number | undefined;
  /** Threads that measured runs compute with. */
  readonly threads?: ThreadOptions | undefined;
  /** Runs the schedules that are measured; threads of this process where left out. */
  readonly run?: RunSchedule | undefined;
  readonly seed?: number | undefined;
  readonly signal?: AbortSignal | undefined;
  /** `done` is the share of the work, 0 to 1. */
  readonly onProgress?: ((done: number, label: string) => void) | undefined;
}

/** A schedule of so many operands is verified and lowered in about 10 s on one core. */
export const mostOperands = 2_000_000;

/**
 * Compiles, verifies, counts and, if asked, measures one problem with every strategy.
 *
 * @throws InputError if given degrees or options do not fit the strategies.
 */
export async function compareStrategies(problem: Problem, given: ComparisonOptions): Promise<Comparison> {
  const { strategies, repeats, signal, onProgress } = given;
  // What is not known of the device is the user's to know, and no refusal of a strategy.
  const hardware = given.predict ? (given.hardware ?? hardwareOf(problem.cluster)) : undefined;
  const refused: LeftOut[] = [];
  const tooLarge: LeftOut[] = [];
  const entries: Entry[] = [];
  const share = repeats === undefined ? 1 : 0.2;
  for (const [i, strategy] of strategies.entries()) {
    signal?.throwIfAborted();
    onProgress?.((share * i) / strategies.length, `compile ${strategy.name}`);
    const options = given.faithful ? { ...publishedOptions(strategy), ...given.options } : (given.options ?? {});
    const operands = strategy.estimatedOperands?.(problem, options) ?? 0;
    if (operands > mostOperands && !given.all) {
      const reason = `about ${Math.round(operands / 1e6)} million operands (more than ${mostOperands / 1e6} million)`;
      tooLarge.push({ strategy: strategy.name, reason });
      continue;
    }
    try {
      const compiled = compileSupported(strategy, problem, { ...given, options });
      entries.push({ compiled, row: countedRow(problem, compiled, options) });
    } catch (error) {
      // With one strategy named, what it refuses is the user's to know.
      if (!(error instanceof InputError) || strategies.length === 1) throw error;
      refused.push({ strategy: strategy.name, reason: error.message });
    }
  }
  const predictions = hardware === undefined ? { entries } : predicted(entries, hardware);
  const timed =
    repeats === undefined
      ? predictions
      : await measured(problem, predictions.entries, { ...given, repeats, from: share });
  onProgress?.(1, "done");
  const bounds = {
    receivedBytesMean: balancedBoundBytes(problem),
    betweenNodesBytes: slowLinkBoundBytes(problem) * nodesOf(problem.cluster),
    ...predictions.bounds,
    ...timed.bounds,
  };
  const rows = timed.entries.map(({ row }) => row).sort(byTimeThenBytes);
  return { problem, bounds, rows, refused, tooLarge };
}

/** A strategy's schedule, and what is known of it so far. */
interface Entry {
  readonly compiled: Compiled;
  readonly row: ComparedStrategy;
}

interface Timed {
  readonly entries: readonly Entry[];
  readonly bounds?: Pick<ComparisonBounds, "computeFloorMs" | "predictedFloorMs">;
}

function predicted(entries: readonly Entry[], hardware: Hardware): Timed {
  let predictedFloorMs = 0;
  const timed = entries.map(({ compiled, row }) => {
    if (!isRunnable(compiled)) return { compiled, row };
    const { schedule, lowered } = compiled;
    const simulation = simulate(schedule, { hardware, lowered, waits: lowered.op.waitFor });
    const { floors } = simulation;
    // The floor is the problem's, but a strategy that pads documents has a larger one.
    const floorMs = floors.problemUs / 1e3;
    predictedFloorMs = predictedFloorMs === 0 ? floorMs : Math.min(predictedFloorMs, floorMs);
    return { compiled, row: { ...row, predicted: predictedTime(simulation) } };
  });
  return { entries: timed, bounds: { predictedFloorMs } };
}

function predictedTime({ trace, kernel, perRank }: Simulation): PredictedTime {
  const meanMs = (us: (rank: RankBreakdown) => number) =>
    perRank.reduce((sum, rank) => sum + us(rank), 0) / perRank.length / 1e3;
  return {
    stepMs: trace.durationUs / 1e3,
    computingMs: meanMs(({ computingUs }) => computingUs),
    exposedCommunicationMs: meanMs(({ exposedCommunicationUs }) => exposedCommunicationUs),
    waitingMs: meanMs(({ waitingUs }) => waitingUs),
    exposedByLevelMs: perRank[0].exposedByLevelUs.map((_, level) => meanMs((rank) => rank.exposedByLevelUs[level])),
    kernel,
  };
}

async function measured(
  problem: Problem,
  entries: readonly Entry[],
  given: ComparisonOptions & { readonly repeats: number; readonly from: number },
): Promise<Timed> {
  const { repeats, from, seed = 1, threads, run, signal, onProgress } = given;
  const runnable = entries.filter(({ compiled }) => isRunnable(compiled));
  if (runnable.length === 0) return { entries };
  const schedules = runnable.map(({ compiled }) => compiled);
  let runs = 0;
  const onRun = (i: number): void => {
    const done = runs++ / (schedules.length * (repeats + 1));
    onProgress?.(from + (1 - from) * done, `run ${runnable[i].row.variant}`);
  };
  const times = await measureAll(schedules, { repeats, seed, threads, run, signal, onRun });
  // A rank on several threads computes at as many times the rate of one.
  const teraflops = bestTeraflops(schedules, times) * times[0].threadsPerRank;
  const computeFloor = computeFloorMs(problem, teraflops);
  const timed = runnable.map(({ compiled, row }, i) => ({ compiled, row: { ...row, measured: times[i] } }));
  const notRun = entries.filter(({ compiled }) => !isRunnable(compiled));
  return { entries: [...timed, ...notRun], bounds: { computeFloorMs: computeFloor } };
}

/** A row without a time, as its schedule cannot be run, stands behind those with one. */
function byTimeThenBytes(a: ComparedStrategy, b: ComparedStrategy): number {
  const [ofA, ofB] = [a, b].map(({ measured, predicted }) => measured?.criticalPathMs ?? predicted?.stepMs);
  if (ofA !== undefined && ofB !== undefined) return ofA - ofB;
  if (ofA === undefined && ofB === undefined) return a.receivedBytes.max - b.receivedBytes.max;
  return ofA === undefined ? 1 : -1;
}

const isRunnable = ({ findings }: Compiled): boolean => findings.every(({ rule }) => rule === "contamination");

function compileSupported(strategy: Strategy, problem: Problem, given: ComparisonOptions): Compiled {
  const { degrees, options, memoryCapBytes } = given;
  // Without candidates the strategy cannot do it; its default may then be none that it knows, and compiling says why.
  if (degrees === undefined && strategy.candidateDegrees(problem).length === 0) {
    strategy.compile(problem, strategy.defaultDegrees(problem), options);
  }
  return compileWith(strategy, problem, { degrees, options, memoryCapBytes });
}

function countedRow(problem: Problem, compiled: Compiled, options: StrategyOptions): ComparedStrategy {
  const { schedule, account, lowered, findings } = compiled;
  const { strategy, degrees } = schedule;
  const { total, mean, max } = account.receivedBytes;
  const { arenaBytes } = lowered.rank;
  return {
    strategy,
    variant: variantName({ strategy, degrees, options }),
    degrees,
    options,
    balance: { area: account.area.balance, tokens: account.tokens.balance },
    receivedBytes: { total, mean, max },
    betweenNodesBytes: account.betweenNodesBytes,
    bytesByLevel: account.bytesByLevel,
    peakBytes: {
      mean: arenaBytes.reduce((sum, bytes) => sum + bytes, 0) / arenaBytes.length,
      max: Math.max(...arenaBytes),
    },
    paddingTokens: tokensOf(schedule.problem.batch) - tokensOf(problem.batch),
    area: account.area.total,
    ...wasteOf(schedule),
    findings: findings.map(({ message }) => message),
  };
}
