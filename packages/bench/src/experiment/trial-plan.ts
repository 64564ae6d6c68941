import { type Cluster, clusterOf } from "@hsap/cluster";
import type { Degrees, Pass, Problem, Strategy, StrategyOptions } from "@hsap/schedule";
import { documentsOf, lengthsOf, mixPack, type PackedBatch, tokensOf } from "@hsap/workload";
import { checkedOptions, settledDegrees, strategyNamed } from "../strategies.ts";
import { clusterDigest, lengthsDigest, type TrialInputs } from "../trial.ts";
import type { Experiment, ExperimentVariant, Sweep } from "./experiment-file.ts";

/** A strategy with its degrees and options settled for one problem. */
export interface Variant {
  readonly strategy: Strategy;
  readonly degrees: Degrees;
  readonly options: StrategyOptions;
}

/** One pack and one pass: what all variants are given alike. */
export interface TrialCell {
  readonly mix: string;
  readonly seed: number;
  readonly problem: Problem;
}

/** A pack that takes the place of the ones an experiment draws. */
export interface GivenPack {
  readonly name: string;
  readonly seed: number;
  readonly batch: PackedBatch;
}

/** The cells of a sweep, pack after pass. */
export function trialCells({ sweep, cluster }: Experiment, given?: GivenPack): TrialCell[] {
  const packs = given ? [given] : drawnPacks(sweep);
  return packs.flatMap(({ name, seed, batch }) =>
    sweep.passes.map((pass) => ({ mix: name, seed, problem: problemOf(sweep, cluster, batch, pass) })),
  );
}

/**
 * The variants that an entry of an experiment stands for, on a problem: one, or with degrees `all` as many as the strategy
 * proposes. The strategy's default where the file gives no degrees.
 *
 * @throws InputError if there is no such strategy, or degrees or options do not fit.
 */
export function variantsOf({ strategy: name, degrees, options = {} }: ExperimentVariant, problem: Problem): Variant[] {
  const strategy = strategyNamed(name);
  const chosen = degrees === "all" ? strategy.candidateDegrees(problem) : [degrees ?? strategy.defaultDegrees(problem)];
  return chosen.map((given) => ({
    strategy,
    degrees: settledDegrees(strategy, problem, given),
    options: checkedOptions(strategy, options),
  }));
}

/** The strategy and the problems of an experiment's pipeline: one pack a step, drawn with the seeds 1, 2, ... */
export function pipelineProblems({ pipeline, sweep, cluster }: Experiment): {
  strategy: Strategy;
  problems: Problem[];
} {
  if (pipeline === undefined) throw new Error("the experiment has no pipeline");
  const { strategy, mix, steps } = pipeline;
  const packs = drawnPacks({ ...sweep, mixes: [mix], seeds: Array.from({ length: steps }, (_, step) => step + 1) });
  return {
    strategy: strategyNamed(strategy),
    problems: packs.map(({ batch }) => problemOf(sweep, cluster, batch, "forward")),
  };
}

/**
 * The order in which variants run in a repeat: each repeat begins one further, so that none always runs first or after
 * the same neighbour's heat.
 */
export function rotated<T>(items: readonly T[], repeat: number): T[] {
  const shift = items.length === 0 ? 0 : repeat % items.length;
  return [...items.slice(shift), ...items.slice(0, shift)];
}

/** All that decides the trial's result except the machine. */
export function trialInputsOf(
  experiment: Experiment,
  { mix, seed, problem }: TrialCell,
  { strategy, degrees, options }: Variant,
  repeat: number,
): TrialInputs {
  const { batch, shape, mask, pass } = problem;
  return {
    experiment: experiment.name,
    problem: {
      mix,
      seed,
      documents: documentsOf(batch),
      tokens: tokensOf(batch),
      lengthsDigest: lengthsDigest(lengthsOf(batch)),
      ...shape,
      mask,
      pass,
    },
    ranks: experiment.sweep.ranks,
    ranksPerNode: experiment.sweep.ranksPerNode,
    ...(experiment.cluster && { cluster: clusterDigest(experiment.cluster) }),
    strategy: strategy.name,
    degrees: { ...degrees },
    options: { ...options },
    repeat,
  };
}

function drawnPacks({ mixes, seeds, tokens }: Sweep): GivenPack[] {
  return mixes.flatMap((name) => seeds.map((seed) => ({ name, seed, batch: mixPack(name, { tokens, seed }) })));
}

function problemOf(
  { ranks, ranksPerNode, heads, kvHeads, headDim, dtype, mask }: Sweep,
  from: Cluster | undefined,
  batch: PackedBatch,
  pass: Pass,
): Problem {
  return {
    batch,
    shape: { heads, kvHeads, headDim, dtype },
    cluster: clusterOf({ ranks, ranksPerNode, from }),
    mask,
    pass,
  };
}
