import { resolve } from "node:path";
import {
  type BestStep,
  bestSteps,
  type ChosenDegrees,
  chosenDegrees,
  type ModelSweep,
  type ModelSweepResult,
  readModelSweep,
  runModelSweep,
  withMemory,
  workspacePath,
} from "@hsap/bench";
import { namedCluster } from "@hsap/cluster";
import { InputError, type MixName, mixNames } from "@hsap/workload";
import { drawBeside } from "../draw-beside.ts";
import { formatSweep } from "../model-sweep-table.ts";
import { oneOf, parseDegrees, wholeNumber } from "../option-values.ts";
import type { CommandContext, ExperimentOptions } from "../program.ts";
import { resumeShown } from "../resume-shown.ts";
import { refuseOtherOptions } from "../taken-options.ts";

/** `hsap experiment models`: predicts what is missing of a sweep over whole training steps, summarises all of it, and draws its figures. */
export async function modelSweep(name: string, options: ExperimentOptions, context: CommandContext): Promise<void> {
  const { output, version } = context;
  const chosen = withGivenOptions(readModelSweep(name, options.profile), options);
  const folder = resolve(options.results ?? workspacePath(`results/${name}`));
  const result = await resumeShown({ folder, what: "steps" }, context, (shown) => runModelSweep(chosen, shown));
  const steps = bestSteps(result.trials);
  if (options.json) output.out(`${JSON.stringify({ ...described(result), steps: steps.map(reported) }, null, 2)}\n`);
  else output.out(formatSweep(result, steps, version));
  if (options.figures) await drawBeside(folder, context);
}

/** The options that a sweep of models takes instead of its own values, and those that are about the run. */
const taken = [
  "cluster",
  "ranks",
  "mix",
  "seed",
  "strategy",
  "degrees",
  "profile",
  "results",
  "figures",
  "json",
  "list",
];

function withGivenOptions(experiment: ModelSweep, options: ExperimentOptions): ModelSweep {
  const why = `${experiment.name} predicts whole models, and takes cluster, ranks, mix, seed, strategy, degrees`;
  refuseOtherOptions(options, taken, why);
  const { sweep } = experiment;
  const { cluster, ranks, mix, seed } = options;
  return {
    ...experiment,
    sweep: {
      ...sweep,
      ...(cluster !== undefined && { clusters: [withMemory(namedCluster(cluster))] }),
      ...(ranks !== undefined && { ranks: [wholeNumber("ranks", ranks)] }),
      ...(mix !== undefined && { mixes: [oneOf("mix", mix, mixNames) as MixName] }),
      ...(seed !== undefined && { seeds: [wholeNumber("seed", seed, 0)] }),
      strategies: variantsOf(sweep.strategies, options),
    },
  };
}

function variantsOf(own: ModelSweep["sweep"]["strategies"], { strategy, degrees }: ExperimentOptions) {
  if (strategy === undefined) {
    if (degrees !== undefined) throw new InputError(`invalid degrees: ${degrees} (name their --strategy)`);
    return own;
  }
  if (degrees !== undefined) return [{ strategy, degrees: isChosen(degrees) ? degrees : parseDegrees(degrees) }];
  const known = own.filter((variant) => variant.strategy === strategy);
  return known.length > 0 ? known : [{ strategy }];
}

const isChosen = (degrees: string): degrees is ChosenDegrees => (chosenDegrees as readonly string[]).includes(degrees);

function described({ experiment, environment, trials, predictedNow }: ModelSweepResult): object {
  const { name, title, claim, baseline, profile, sweep } = experiment;
  return {
    ...{ experiment: name, title, claim, baseline, profile, origin: "simulated" },
    sweep: { ...sweep, clusters: sweep.clusters.map((cluster) => cluster.name) },
    ...{ environment, trials: trials.length, predictedNow },
  };
}

const reported = ({ best, own, ...step }: BestStep): object => ({
  ...step,
  weights: best.weights,
  ...(best.prefetch && { prefetch: true }),
  ...(best.receivedKv && { receivedKv: best.receivedKv }),
  outcome: best.outcome,
  ...(own && { own: { outcome: own.outcome } }),
});
