import { balancedBoundBytes, computeFloorMs, slowLinkBoundBytes } from "@hsap/baselines";
import { nodesOf } from "@hsap/cluster";
import { type Degrees, type Problem, publishedOptions, type Strategy, type StrategyOptions } from "@hsap/schedule";
import { InputError, tokensOf } from "@hsap/workload";
import { type Compiled, compileWith } from "../compiled.ts";
import { variantName } from "../trial.ts";
import { bestTeraflops, type MeasuredTime, measureAll } from "./measured-time.ts";
import { type Waste, wasteOf } from "./waste.ts";

/** One strategy on the problem that all are compared on. Everything but `measured` is counted from its schedule. */
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
}

/** What no strategy that computes an equal share on every rank and splits no heads can go below. */
export interface ComparisonBounds {
  /** Mean over ranks; `balancedBoundBytes`. */
  readonly receivedBytesMean: number;
  /** Into all nodes together; `slowLinkBoundBytes` times the nodes. */
  readonly betweenNodesBytes: number;
  /** Of the critical path: the pass spread evenly over ranks at the highest rate that any strategy had. Where measured. */
  readonly computeFloorMs?: number;
}

export interface LeftOut {
  readonly strategy: string;
  readonly reason: string;
}

export interface Comparison {
  readonly problem: Problem;
  readonly bounds: ComparisonBounds;
  /** By critical path where measured, otherwise by the bytes that the highest rank receives. */
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
  /** Measures each schedule as often. Schedules that break another rule than contamination are not run. */
  readonly repeats?: number | undefined;
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
  const { strategies, repeats, seed = 1, signal, onProgress } = given;
  const refused: LeftOut[] = [];
  const tooLarge: LeftOut[] = [];
  const entries: { compiled: Compiled; row: ComparedStrategy }[] = [];
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
  const bounds = {
    receivedBytesMean: balancedBoundBytes(problem),
    betweenNodesBytes: slowLinkBoundBytes(problem) * nodesOf(problem.cluster),
  };
  const counted = entries.map(({ row }) => row).sort((a, b) => a.receivedBytes.max - b.receivedBytes.max);
  if (repeats === undefined) return { problem, bounds, rows: counted, refused, tooLarge };
  const runnable = entries.filter(({ compiled }) => isRunnable(compiled));
  const schedules = runnable.map(({ compiled }) => compiled);
  let runs = 0;
  const onRun = (variant: number) =>
    onProgress?.(
      share + ((1 - share) * runs++) / (schedules.length * (repeats + 1)),
      `run ${runnable[variant].row.variant}`,
    );
  const measured = await measureAll(schedules, { repeats, seed, signal, onRun });
  onProgress?.(1, "done");
  const timed = runnable
    .map(({ row }, i) => ({ ...row, measured: measured[i] }))
    .sort((a, b) => a.measured.criticalPathMs - b.measured.criticalPathMs);
  const notRun = entries.filter(({ compiled }) => !isRunnable(compiled)).map(({ row }) => row);
  const floor = computeFloorMs(problem, bestTeraflops(schedules, measured));
  return { problem, bounds: { ...bounds, computeFloorMs: floor }, rows: [...timed, ...notRun], refused, tooLarge };
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
