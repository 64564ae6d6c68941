import type { ThreadOptions } from "@hsap/engine";
import {
  type Degrees,
  type Problem,
  publishedOptions,
  ranksOf,
  type Strategy,
  type StrategyOptions,
} from "@hsap/schedule";
import { InputError } from "@hsap/workload";
import { type Expected, expectedOf, type OutputErrors, type OutputName, wrongOutputs } from "../accuracy.ts";
import type { RunSchedule } from "../run-schedule.ts";
import { formatDegrees } from "../strategies.ts";
import {
  type VerificationCase,
  type VerificationSize,
  verificationCases,
  verificationRanks,
} from "./verification-cases.ts";
import { type CaseResult, verifyCase } from "./verified-case.ts";

/** All cases of one strategy on one number of ranks with one choice of degrees. */
export interface VerificationRow {
  readonly strategy: string;
  readonly ranks: number;
  readonly degrees: Degrees;
  readonly cases: number;
  /** Worst relative L2 error over the cases. */
  readonly errors: OutputErrors;
  readonly contaminatedPairs: number;
  /** `ok`, or what was wrong first, with the case it happened in. */
  readonly verdict: string;
}

/** A strategy that does not support a problem, in its own words. */
export interface Refusal {
  readonly strategy: string;
  readonly ranks: number;
  readonly reason: string;
  readonly cases: number;
}

export interface VerificationReport {
  readonly rows: readonly VerificationRow[];
  readonly refusals: readonly Refusal[];
  readonly runs: number;
  readonly wrong: number;
}

export interface VerificationOptions {
  readonly strategies: readonly Strategy[];
  readonly size: VerificationSize;
  readonly seed?: number;
  readonly threads?: ThreadOptions | undefined;
  /** Only these numbers of ranks. */
  readonly ranks?: readonly number[] | undefined;
  /** Only these problems, instead of the suite's own. */
  readonly cases?: readonly VerificationCase[] | undefined;
  /** Only these degrees, instead of all that the strategy proposes. */
  readonly degrees?: Degrees | undefined;
  readonly options?: StrategyOptions | undefined;
  /** Each strategy does what the published system does with packs, right or wrong. */
  readonly faithful?: boolean | undefined;
  /** Runs the schedules, such as the ranks of a job: all cases must have as many then. */
  readonly run?: RunSchedule | undefined;
  readonly signal?: AbortSignal | undefined;
  /** `done` is the share of the work, 0 to 1. */
  readonly onProgress?: ((done: number, label: string) => void) | undefined;
}

/**
 * Verifies every strategy with every choice of degrees it proposes: the schedule's rules, both passes against the float64
 * reference, the perturbation probe, and the same bits from the same schedule.
 */
export async function verifyStrategies(given: VerificationOptions): Promise<VerificationReport> {
  const { strategies, size, seed = 1, signal, onProgress } = given;
  const cases =
    given.cases ?? (given.ranks ?? verificationRanks(size)).flatMap((ranks) => verificationCases(ranks, size, seed));
  const rows = new Map<string, GrowingRow>();
  const refusals = new Map<string, Refusal>();
  let runs = 0;
  const weightOf = ({ problem }: VerificationCase): number => 4 + ranksOf(problem);
  const total = cases.reduce((sum, one) => sum + weightOf(one), 0);
  let done = 0;
  for (const one of cases) {
    const { name, problem } = one;
    onProgress?.(done / total, `${ranksOf(problem)} ranks: ${name}`);
    done += weightOf(one);
    const expected = await expectedOf(problem, seed, 2, signal);
    for (const strategy of strategies) {
      const options = given.faithful ? { ...publishedOptions(strategy), ...given.options } : given.options;
      const candidates = candidatesOf(strategy, problem, { ...given, options });
      if (!Array.isArray(candidates)) {
        noteRefusal(refusals, {
          strategy: strategy.name,
          ranks: ranksOf(problem),
          reason: candidates.message,
          cases: 1,
        });
        continue;
      }
      for (const degrees of candidates) {
        signal?.throwIfAborted();
        const row = rowFor(rows, strategy, ranksOf(problem), degrees);
        runs += await verifyInto(row, strategy, { name, problem }, { ...given, options, degrees, expected, seed });
      }
    }
  }
  onProgress?.(1, "done");
  const order = new Map(strategies.map(({ name }, i) => [name, i]));
  const sorted = [...rows.values()].sort(
    (a, b) => (order.get(a.strategy) ?? 0) - (order.get(b.strategy) ?? 0) || a.ranks - b.ranks,
  );
  return {
    rows: sorted,
    refusals: [...refusals.values()],
    runs,
    wrong: sorted.filter(({ verdict }) => verdict !== "ok").length,
  };
}

/** What is wrong with a case, or undefined. */
export function faultOf({
  errors,
  findings,
  contaminatedPairs,
  blindProbes,
  unstablePasses,
  dtype,
}: CaseResult): string | undefined {
  const [finding] = findings;
  if (finding !== undefined && contaminatedPairs === 0) return finding.message;
  if (finding !== undefined) return `${finding.message}; ${contaminatedPairs} contaminated pairs when run`;
  const [wrong] = wrongOutputs(errors, dtype);
  if (wrong !== undefined) return `error of ${wrong} is ${errors[wrong]?.toExponential(1)}`;
  if (contaminatedPairs > 0) return `${contaminatedPairs} contaminated pairs`;
  if (blindProbes > 0) return "perturbing a document did not change its own outputs";
  if (unstablePasses > 0) return "the same schedule gave other bits";
  return undefined;
}

/** How many documents of a pack are perturbed, one after another. */
const probesOf: Readonly<Record<VerificationSize, number>> = { quick: 1, default: 2, full: Number.POSITIVE_INFINITY };

type GrowingRow = { -readonly [K in keyof VerificationRow]: VerificationRow[K] };

function candidatesOf(
  strategy: Strategy,
  problem: Problem,
  { degrees, options }: VerificationOptions,
): Degrees[] | InputError {
  try {
    if (degrees !== undefined) return [degrees];
    const candidates = strategy.candidateDegrees(problem);
    if (candidates.length > 0) return [...candidates];
    // Without candidates the strategy cannot do it; compiling makes it say why.
    strategy.compile(problem, strategy.defaultDegrees(problem), options);
    return [strategy.defaultDegrees(problem)];
  } catch (error) {
    if (error instanceof InputError) return error;
    throw error;
  }
}

interface CaseContext extends VerificationOptions {
  readonly degrees: Degrees;
  readonly expected: Expected;
  readonly seed: number;
  readonly threads?: ThreadOptions | undefined;
}

/** Verifies one case and adds it to the row; returns how many schedules were run. */
async function verifyInto(
  row: GrowingRow,
  strategy: Strategy,
  { name, problem }: VerificationCase,
  context: CaseContext,
): Promise<number> {
  row.cases++;
  try {
    const probes = probesOf[context.size];
    const result = await verifyCase(strategy, problem, { ...context, probes });
    row.errors = worstOf(row.errors, result.errors);
    row.contaminatedPairs += result.contaminatedPairs;
    const fault = faultOf(result);
    if (fault !== undefined && row.verdict === "ok") row.verdict = `WRONG: ${fault} (${name})`;
    return result.runs;
  } catch (error) {
    context.signal?.throwIfAborted();
    // A job that has failed ends, whatever of it is verified.
    if (context.run !== undefined && !(error instanceof InputError)) throw error;
    // Given degrees may not fit: that is the user's to know. All else is a fault of the strategy or the engine.
    if (error instanceof InputError && context.cases !== undefined) throw error;
    if (row.verdict === "ok") row.verdict = `WRONG: ${(error as Error).message} (${name})`;
    return 0;
  }
}

function rowFor(rows: Map<string, GrowingRow>, strategy: Strategy, ranks: number, degrees: Degrees): GrowingRow {
  const key = `${strategy.name} ${ranks} ${formatDegrees(degrees)}`;
  const known = rows.get(key);
  if (known) return known;
  const row = { strategy: strategy.name, ranks, degrees, cases: 0, errors: {}, contaminatedPairs: 0, verdict: "ok" };
  rows.set(key, row);
  return row;
}

function noteRefusal(refusals: Map<string, Refusal>, refusal: Refusal): void {
  const key = `${refusal.strategy} ${refusal.ranks} ${refusal.reason}`;
  refusals.set(key, { ...refusal, cases: (refusals.get(key)?.cases ?? 0) + 1 });
}

function worstOf(a: OutputErrors, b: OutputErrors): OutputErrors {
  const worst: OutputErrors = { ...a };
  for (const [name, value] of Object.entries(b) as [OutputName, number][]) {
    const known = worst[name] ?? 0;
    // Not a number is worse than any number, and stays.
    if (!Number.isNaN(known) && !(known > value)) worst[name] = value;
  }
  return worst;
}
