import { type Interval, median, pairedRatio } from "../statistics.ts";
import { type Trial, variantName } from "../trial.ts";
import { faultOfTrial } from "./trial-fault.ts";

/** All repeats and packs of one variant on one mix and pass. Times are medians, in milliseconds. */
export interface SummaryRow {
  readonly pass: Trial["problem"]["pass"];
  readonly mix: string;
  readonly strategy: string;
  readonly degrees: Trial["degrees"];
  readonly variant: string;
  readonly trials: number;
  readonly wallMs: number;
  /** Processor time of the busiest rank, both lanes. */
  readonly busiestRankMs: number;
  readonly criticalPathMs: number;
  readonly longestChainMs: number;
  readonly receivedBytesMax: number;
  readonly betweenNodesBytes: number;
  readonly areaBalance: number;
  readonly peakBytesMax: number;
  /** Median of this variant / baseline in the same repeat on the same pack, with its 95 % interval; missing for the baseline itself. */
  readonly wallRatio?: Interval;
  readonly criticalPathRatio?: Interval;
  readonly longestChainRatio?: Interval;
  readonly worstError: number;
  readonly wrong: number;
}

/** Summarises trials in the order in which mixes, passes and variants first appear. Ratios are to `baseline`. */
export function summarise(trials: readonly Trial[], baseline: string): SummaryRow[] {
  const groups = groupBy(trials, ({ problem, ...trial }) => `${problem.pass}|${problem.mix}|${variantName(trial)}`);
  return [...groups.values()].map((group) => {
    const [{ problem, strategy, degrees, options }] = group;
    const references = trials.filter((trial) => trial.strategy === baseline && sameCell(trial, group[0]));
    const of = (value: (trial: Trial) => number) => median(group.map(value));
    return {
      pass: problem.pass,
      mix: problem.mix,
      strategy,
      degrees,
      variant: variantName({ strategy, degrees, options }),
      trials: group.length,
      wallMs: of(({ wallMs }) => wallMs),
      busiestRankMs: of(busiestRankMs),
      criticalPathMs: of((trial) => trial.criticalPathMs),
      longestChainMs: of((trial) => trial.longestChainMs),
      receivedBytesMax: of(({ bytes }) => bytes.received.max),
      betweenNodesBytes: of(({ bytes }) => bytes.betweenNodes),
      areaBalance: of(({ balance }) => balance.area),
      peakBytesMax: of(({ peakBytes }) => peakBytes.max),
      ...(strategy !== baseline && references.length > 0 && ratiosTo(group, references)),
      worstError: Math.max(0, ...group.flatMap(({ error }) => Object.values(error))),
      wrong: group.filter((trial) => faultOfTrial(trial) !== undefined).length,
    };
  });
}

/** Processor time of the busiest rank of a trial, both lanes. */
export function busiestRankMs({ cpuMs }: Trial): number {
  return Math.max(...cpuMs.computation.map((computation, rank) => computation + cpuMs.communication[rank]));
}

type Ratios = Pick<SummaryRow, "wallRatio" | "criticalPathRatio" | "longestChainRatio">;

function ratiosTo(group: readonly Trial[], references: readonly Trial[]): Ratios {
  const partners = new Map(references.map((trial) => [pairKey(trial), trial]));
  const pairs = group.flatMap((trial) => {
    const partner = partners.get(pairKey(trial));
    return partner ? [[trial, partner] as const] : [];
  });
  if (pairs.length === 0) return {};
  const ratio = (value: (trial: Trial) => number) =>
    pairedRatio(
      pairs.map(([trial]) => value(trial)),
      pairs.map(([, partner]) => value(partner)),
    );
  return {
    wallRatio: ratio(({ wallMs }) => wallMs),
    criticalPathRatio: ratio((trial) => trial.criticalPathMs),
    longestChainRatio: ratio((trial) => trial.longestChainMs),
  };
}

function pairKey({ problem, repeat }: Trial): string {
  return `${problem.lengthsDigest} ${problem.seed} ${repeat}`;
}

function sameCell(a: Trial, b: Trial): boolean {
  return a.problem.pass === b.problem.pass && a.problem.mix === b.problem.mix;
}

function groupBy<T>(items: readonly T[], keyOf: (item: T) => string): Map<string, T[]> {
  const groups = new Map<string, T[]>();
  for (const item of items) {
    const key = keyOf(item);
    const group = groups.get(key);
    if (group) group.push(item);
    else groups.set(key, [item]);
  }
  return groups;
}
