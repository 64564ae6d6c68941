import { faultOfTrial, type Interval, median, pairedRatio, type Trial, variantName } from "@hsap/bench";

/** What the trials say of one strategy variant on one length mix. */
export interface Summary {
  readonly mix: string;
  /** Strategy with degrees and options: `hsap ulysses=2 sap=4`. */
  readonly variant: string;
  readonly strategy: string;
  readonly throughput: Readonly<Record<Pass, Throughput | undefined>>;
  /** Bytes received by a rank in all passes together, medians over packs; counted. */
  readonly receivedBytes: { readonly mean: number; readonly max: number; readonly betweenNodes: number };
  /** Slowest or most loaded rank / mean, forward pass if there is one. */
  readonly balance: { readonly area: number; readonly time: Interval };
}

type Pass = Trial["problem"]["pass"];

/** 1e9 floating-point operations a second of all ranks together; measured. */
export interface Throughput {
  /** By wall time on the machine as it is. */
  readonly wall: Interval;
  /** By the critical path: through the slowest rank of each stage, a rank waiting at each group for those that send to it. */
  readonly criticalPath: Interval;
  /** By the longest chain of ops that wait for one another, by processor time: the same with all the overlap there may be. */
  readonly longestChain: Interval;
}

/** Groups trials by mix and variant, in the order in which they first appear. Trials with a fault are left out. */
export function summarize(trials: readonly Trial[]): Summary[] {
  const groups = new Map<string, Trial[]>();
  for (const trial of trials) {
    if (faultOfTrial(trial) !== undefined) continue;
    const key = `${trial.problem.mix}\n${labelOf(trial, trials)}`;
    groups.set(key, [...(groups.get(key) ?? []), trial]);
  }
  return [...groups].map(([key, group]) => {
    const [mix, variant] = key.split("\n");
    const passes = { forward: ofPass(group, "forward"), backward: ofPass(group, "backward") };
    const main = passes.forward.length > 0 ? passes.forward : passes.backward;
    const bytes = (of: (trial: Trial) => number) =>
      Object.values(passes).reduce((sum, some) => sum + (some.length > 0 ? median(some.map(of)) : 0), 0);
    return {
      mix,
      variant,
      strategy: group[0].strategy,
      throughput: { forward: throughputOf(passes.forward), backward: throughputOf(passes.backward) },
      receivedBytes: {
        mean: bytes((trial) => trial.bytes.received.mean),
        max: bytes((trial) => trial.bytes.received.max),
        betweenNodes: bytes((trial) => trial.bytes.betweenNodes / trial.ranks),
      },
      balance: {
        area: median(main.map((trial) => trial.balance.area)),
        time: medianInterval(main.map(({ cpuMs }) => balanceOf(cpuMs.computation))),
      },
    };
  });
}

/** The variant's name, with its ranks where not all trials have as many. */
function labelOf(trial: Trial, trials: readonly Trial[]): string {
  const most = Math.max(...trials.map(({ ranks }) => ranks));
  const suffix = trial.ranks === most ? "" : ` (${trial.ranks} ${trial.ranks === 1 ? "rank" : "ranks"})`;
  return `${variantName(trial)}${suffix}`;
}

const ofPass = (trials: readonly Trial[], pass: Pass): Trial[] => trials.filter(({ problem }) => problem.pass === pass);

function throughputOf(trials: readonly Trial[]): Throughput | undefined {
  if (trials.length === 0) return undefined;
  const rate = (timeMs: (trial: Trial) => number) =>
    medianInterval(trials.map((trial) => flopsOf(trial) / timeMs(trial) / 1e6));
  return {
    wall: rate(({ wallMs }) => wallMs),
    criticalPath: rate(({ criticalPathMs }) => criticalPathMs),
    longestChain: rate(({ longestChainMs }) => longestChainMs),
  };
}

/** Forward `4 * area * heads * headDim`, backward 2.5 times that (FlashAttention's convention). */
const flopsOf = ({ area, problem }: Trial): number =>
  4 * area * problem.heads * problem.headDim * (problem.pass === "forward" ? 1 : 2.5);

function balanceOf(perRank: readonly number[]): number {
  const mean = perRank.reduce((sum, value) => sum + value, 0) / perRank.length;
  return mean === 0 ? 1 : Math.max(...perRank) / mean;
}

// A ratio to 1 is the value itself, so the bootstrap of paired ratios serves single series as well.
const medianInterval = (values: readonly number[]): Interval =>
  pairedRatio(
    values,
    values.map(() => 1),
  );
