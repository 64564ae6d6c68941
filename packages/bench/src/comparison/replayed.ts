import { type Cluster, deviceTiming, presetCluster } from "@hsap/cluster";
import { run } from "@hsap/engine";
import {
  type AttentionShape,
  bytesPerElement,
  type Degrees,
  type Pass,
  type Problem,
  type Strategy,
} from "@hsap/schedule";
import { simulate } from "@hsap/simulator";
import { InputError, lengthsOf, packedBatch } from "@hsap/workload";
import { type Expected, errorsOf, expectedOf, savedFrom, wrongOutputs } from "../accuracy.ts";
import { type Compiled, compileWith } from "../compiled.ts";
import { type Interval, median, pairedRatio } from "../statistics.ts";
import { packProblem } from "./pack-comparison.ts";

/** One strategy's step: what its ranks computed was measured here, the links between them are modelled. */
export interface ReplayedStrategy {
  readonly strategy: string;
  readonly degrees: Degrees;
  /** Median over repeats. */
  readonly stepMs: number;
  /** Median over repeats of the highest rank's computation. */
  readonly computingMs: number;
  /** Its step to hsap's of the same repeat; none for hsap. */
  readonly toHsap?: Interval;
  readonly betweenNodesBytes: number;
  /** What is wrong with the schedule or its outputs, if anything. */
  readonly fault?: string;
}

export interface ReplayedComparison {
  readonly problem: Problem;
  readonly repeats: number;
  /** The fastest first. */
  readonly rows: readonly ReplayedStrategy[];
}

export interface ReplayOptions {
  readonly strategies: readonly Strategy[];
  readonly repeats: number;
  readonly seed?: number | undefined;
  readonly signal?: AbortSignal | undefined;
  /** `done` is the share of the work, 0 to 1. */
  readonly onProgress?: ((done: number, label: string) => void) | undefined;
}

/**
 * Runs each strategy's schedule here and replays it on the links of the problem's cluster, as if every rank had a core of its own: ops take
 * the processor time that they took in the run. Strategies run in turn, `repeats` times, so that what disturbs the machine disturbs
 * all alike; ratios are of the same turn. Each strategy has the degrees that are simulated to be the fastest; strategies that cannot do the
 * problem are left out.
 *
 * @throws InputError if hsap is not among the strategies.
 */
export async function replayStrategies(problem: Problem, given: ReplayOptions): Promise<ReplayedComparison> {
  const { strategies, repeats, seed = 1, signal, onProgress } = given;
  if (!strategies.some(({ name }) => name === "hsap")) {
    throw new InputError("missing strategy: hsap (the others are compared with it)");
  }
  const compiled = strategies.flatMap((strategy) => fastestOf(strategy, problem) ?? []);
  const expected = await expectedOf(problem, seed, 2, signal);
  const faults: (string | undefined)[] = [];
  for (const one of compiled) faults.push(await faultOf(one, expected, seed, signal));
  const stepMs: number[][] = compiled.map(() => []);
  const computingMs: number[][] = compiled.map(() => []);
  for (let repeat = 0; repeat < repeats; repeat++) {
    for (const [i, one] of compiled.entries()) {
      onProgress?.((repeat + i / compiled.length) / repeats, one.schedule.strategy);
      signal?.throwIfAborted();
      const { busyUs } = (await runOnce(one, expected, seed, signal)).trace;
      const { trace, perRank } = simulate(one.schedule, { measuredUs: busyUs, waits: one.lowered.op.waitFor });
      stepMs[i].push(trace.durationUs / 1e3);
      computingMs[i].push(Math.max(...perRank.map((rank) => rank.computingUs)) / 1e3);
    }
  }
  onProgress?.(1, "done");
  const own = compiled.findIndex(({ schedule }) => schedule.strategy === "hsap");
  const rows = compiled.map(({ schedule, account }, i): ReplayedStrategy => {
    const fault = faults[i];
    return {
      strategy: schedule.strategy,
      degrees: schedule.degrees,
      stepMs: median(stepMs[i]),
      computingMs: median(computingMs[i]),
      ...(i !== own && { toHsap: pairedRatio(stepMs[i], stepMs[own]) }),
      betweenNodesBytes: account.betweenNodesBytes,
      ...(fault !== undefined && { fault }),
    };
  });
  return { problem, repeats, rows: rows.sort((a, b) => a.stepMs - b.stepMs) };
}

/** With the degrees that are simulated to be the fastest; undefined if the strategy can have none. */
function fastestOf(strategy: Strategy, problem: Problem): Compiled | undefined {
  const candidates = strategy.name === "hsap" ? [strategy.defaultDegrees(problem)] : strategy.candidateDegrees(problem);
  let fastest: { readonly degrees: Degrees; readonly us: number } | undefined;
  for (const degrees of candidates) {
    const us = simulate(strategy.compile(problem, degrees), { kernel: "engine" }).trace.durationUs;
    if (fastest === undefined || us < fastest.us) fastest = { degrees, us };
  }
  return fastest && compileWith(strategy, problem, { degrees: fastest.degrees });
}

function runOnce({ schedule, lowered }: Compiled, expected: Expected, seed: number, signal: AbortSignal | undefined) {
  const saved = schedule.problem.pass === "backward" ? { saved: savedFrom(expected) } : {};
  return run(schedule, { seed, lowered, ...saved, ...(signal && { signal }) });
}

/** The first run, which also warms up. */
async function faultOf(
  compiled: Compiled,
  expected: Expected,
  seed: number,
  signal: AbortSignal | undefined,
): Promise<string | undefined> {
  const { pass, shape } = compiled.schedule.problem;
  if (compiled.findings.length > 0) return compiled.findings[0].message;
  const errors = errorsOf(pass, (await runOnce(compiled, expected, seed, signal)).outputs, expected);
  const [wrong] = wrongOutputs(errors, shape.dtype);
  return wrong && `error of ${wrong} is ${errors[wrong]?.toExponential(1)}`;
}

/**
 * A pack's problem at a size that a few cores can run: every document a 32nd as long, heads of 16 in fp32. Links are as much slower than
 * the packs' cluster's as cores are slower than its devices, so that each takes the share of a step that it takes there for the whole
 * pack: where a step here is s times as long, latencies are s times theirs, and bandwidths carry what is sent here in s times the
 * time.
 */
export function replayProblem(name: string, pass: Pass): Problem {
  const whole = packProblem(name);
  const lengths = Array.from(lengthsOf(whole.batch), (length) => Math.max(1, Math.round(length / shrink)));
  const shape = { ...whole.shape, headDim: 16, dtype: "fp32" } as const;
  return { ...whole, pass, batch: packedBatch(lengths), shape, cluster: slowedCluster(whole, shape) };
}

const shrink = 32;

function slowedCluster({ shape, cluster }: Problem, smaller: AttentionShape): Cluster {
  const { device } = presetCluster("local");
  const rateOf = (of: Cluster["device"]) => of.peakTflops * deviceTiming(of).forward.shareOfPeak;
  const flops = smaller.headDim / shape.headDim / shrink ** 2;
  const bytes =
    (smaller.headDim * bytesPerElement[smaller.dtype]) / (shape.headDim * bytesPerElement[shape.dtype]) / shrink;
  const longer = (flops * rateOf(cluster.device)) / rateOf(device);
  return {
    ...cluster,
    name: `${cluster.name}, slowed down for cores`,
    device,
    levels: cluster.levels.map((level) => ({
      ...level,
      bandwidthGBps: (level.bandwidthGBps * bytes) / longer,
      latencyUs: level.latencyUs * longer,
    })),
  };
}
