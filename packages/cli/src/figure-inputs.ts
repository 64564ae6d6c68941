import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import {
  type Environment,
  longestTrialVersion,
  lossRunVersion,
  type ModelTrial,
  modelTrialVersion,
  readEnvironments,
  readLongestTrials,
  readLossRuns,
  readModelTrials,
  readPipeline,
  readPredictions,
  readTrials,
  strategyNamed,
  type Trial,
  workspacePath,
} from "@hsap/bench";
import { clusterOf, namedCluster } from "@hsap/cluster";
import type { FigureInputs, PublishedRate } from "@hsap/figures";
import type { Problem } from "@hsap/schedule";
import { InputError, mixes, mixPack, packedBatch } from "@hsap/workload";

export interface FigureSources {
  /** The folder with `trials.jsonl`, `environment.json` and `pipeline/`. */
  readonly folder: string;
  /** The cluster that the topology shows: a preset or a file. */
  readonly cluster: string;
  readonly ranks: number;
}

/**
 * What the figures of a results folder are drawn from: of measured trials, of predicted training steps, of the longest ones, or of training
 * runs, whichever its first record is.
 *
 * @throws InputError if the folder has no trials, or a file in it is not valid.
 */
export function figureInputs(sources: FigureSources): FigureInputs {
  const file = join(sources.folder, "trials.jsonl");
  const [first] = existsSync(file) ? readFileSync(file, "utf8").split("\n", 1) : [""];
  if (first.includes(`"schema":"${modelTrialVersion}"`)) return modelSweepInputs(sources.folder);
  if (first.includes(`"schema":"${longestTrialVersion}"`)) return longestInputs(file);
  return first.includes(`"schema":"${lossRunVersion}"`) ? lossInputs(sources.folder) : evaluationInputs(sources);
}

function evaluationInputs({ folder, cluster, ranks }: FigureSources): FigureInputs {
  const trials = newestSweep(readTrials(join(folder, "trials.jsonl")).trials);
  if (trials.length === 0) throw new InputError(`no trials: ${folder} (run hsap experiment, or name other --results)`);
  const environments = readEnvironments(join(folder, "environment.json"));
  const machine = machineOf(trials[0], environments);
  const steps = readPipeline(join(folder, "pipeline"));
  return {
    packing: { batch: mixPack("hybrid", { tokens: 16384, seed: 1 }), documents: mixes.hybrid.description },
    ...(steps.length > 0 && {
      pipeline: { steps, machine },
      compilation: { schedule: steps[0].schedule },
    }),
    topology: topologyOf(cluster, ranks),
    evaluation: { trials, machine },
    steps: { trials, predictions: readPredictions(join(folder, "predictions.json")), machine },
  };
}

/** The trials that were predicted by the same code as the last one. */
function modelSweepInputs(folder: string): FigureInputs {
  const all = readModelTrials(join(folder, "trials.jsonl")).trials;
  const trials = all.filter(({ environment }) => environment === all.at(-1)?.environment);
  const isOfMixes = trials.some(({ batch }) => Object.hasOwn(mixes, batch.mix));
  return isOfMixes ? { modelSweep: { trials } } : { modelLengths: { trials, published: publishedRates(trials) } };
}

/** The trials that were found by the same code as the last one. */
function longestInputs(file: string): FigureInputs {
  const { trials } = readLongestTrials(file);
  return { longestSteps: { trials: trials.filter(({ environment }) => environment === trials.at(-1)?.environment) } };
}

/** The rates that lie beside an experiment's file as `published.csv`, if any do: strategy, length, model TFLOP/s of a device. */
function publishedRates([first]: readonly ModelTrial[]): PublishedRate[] | undefined {
  const file = workspacePath(`experiments/${first?.experiment}/published.csv`);
  if (!existsSync(file)) return undefined;
  const [, ...lines] = readFileSync(file, "utf8").trim().split("\n");
  return lines.map((line) => {
    const [strategy, length, rate] = line.split(",");
    return { strategy, tokens: Number(length), ...(rate !== "" && { tflopsPerDevice: Number(rate) }) };
  });
}

/** The runs that were trained on the same machine with the same code as the last one. */
function lossInputs(folder: string): FigureInputs {
  const { trials: runs } = readLossRuns(join(folder, "trials.jsonl"));
  const newest = runs.filter(({ environment }) => environment === runs.at(-1)?.environment);
  return { trainingLosses: { runs: newest, baseline: "reference" } };
}

/** The trials that were measured together with the last one: the same experiment, machine, shape and ranks. */
function newestSweep(trials: readonly Trial[]): Trial[] {
  const last = trials.at(-1);
  if (last === undefined) return [];
  const signature = sweepOf(last);
  return trials.filter((trial) => sweepOf(trial) === signature);
}

function sweepOf({ experiment, environment, problem, ranks, ranksPerNode }: Trial): string {
  const { tokens, heads, kvHeads, headDim, dtype, mask } = problem;
  return JSON.stringify([experiment, environment, tokens, heads, kvHeads, headDim, dtype, mask, ranks, ranksPerNode]);
}

function machineOf({ environment, ranks }: Trial, environments: readonly Environment[]): string {
  const found = environments.find(({ id }) => id === environment);
  const where = found === undefined ? "an unknown machine" : `${found.cores} cores of an ${found.cpu}`;
  if (found?.mpi === undefined) return `${ranks} ranks as threads on ${where}`;
  const { library, hosts } = found.mpi;
  return `${ranks} ranks as processes over ${library} on ${hosts === 1 ? where : `${hosts} hosts, each with ${where}`}`;
}

/** A cluster's first `ranks` ranks, and the degrees of hsap on it: heads split over half a node, tokens over the rest. */
function topologyOf(name: string, ranks: number): NonNullable<FigureInputs["topology"]> {
  const cluster = clusterOf({ ranks, from: namedCluster(name) });
  const problem: Problem = {
    batch: packedBatch([ranks]),
    shape: { heads: 64, kvHeads: 8, headDim: 128, dtype: "bf16" },
    cluster,
    mask: "causal",
    pass: "forward",
  };
  const candidates = strategyNamed("hsap").candidateDegrees(problem);
  const degrees = candidates[Math.max(0, candidates.length - 2)];
  return {
    cluster,
    strategy: "hsap",
    degrees: Object.entries(degrees).map(([degree, size]) => ({ name: degree, size })),
  };
}
