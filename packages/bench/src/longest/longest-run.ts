import { type Cluster, clusterOf } from "@hsap/cluster";
import { type LayerStrategy, type ModelProblem, modelNamed, type WeightPlacement } from "@hsap/model";
import type { Degrees } from "@hsap/schedule";
import { layerStrategyNamed } from "@hsap/training";
import { InputError, packedBatch } from "@hsap/workload";
import { longestFitting } from "../model/longest-fitting.ts";
import { placesWeights } from "../model-sweep/planned-steps.ts";
import { simulationEnvironment } from "../results/environment.ts";
import type { ResumeOptions } from "../results/make-missing.ts";
import { type Predictions, predictMissing } from "../results/predict-missing.ts";
import { clusterDigest, keyOf } from "../trial.ts";
import type { LongestSweep } from "./longest-sweep-file.ts";
import { type LongestTrial, type LongestTrialInputs, longestTrialVersion, readLongestTrials } from "./longest-trial.ts";

export interface LongestSweepResult extends Predictions<LongestTrial> {
  readonly experiment: LongestSweep;
}

/** A search for the longest step of one strategy, and all that decides it. */
interface PlannedSearch {
  readonly cluster: Cluster;
  readonly strategy: LayerStrategy;
  readonly inputs: LongestTrialInputs;
  readonly key: string;
}

/**
 * Looks for the longest steps that are missing of a sweep, as `predictMissing` says. Nothing is simulated: memory is counted from the schedules.
 *
 * @throws InputError if there is no such strategy, and as `predictMissing` does.
 */
export async function runLongestSweep(experiment: LongestSweep, options: ResumeOptions): Promise<LongestSweepResult> {
  // Degrees that fitted most on as many ranks do so for many models and devices.
  const likely = new Map<string, Degrees>();
  const result = await predictMissing<PlannedSearch, LongestTrial>(
    {
      environment: simulationEnvironment(options.arguments),
      planned: plannedSearches(experiment),
      inOrder: (missing) => [...missing].sort((a, b) => a.inputs.ranks - b.inputs.ranks),
      read: readLongestTrials,
      predict: (search, environment) => {
        const { strategy, ranks, recompute } = search.inputs;
        const alike = [strategy, ranks, recompute].join();
        const trial = trialOf(search, environment, likely.get(alike));
        if (trial.outcome.kind === "fits") likely.set(alike, trial.outcome.degrees);
        return trial;
      },
      // Compiling takes about the square of the ranks; hsap has several times as many degrees as others.
      weightOf: ({ inputs: { ranks, strategy } }) => (100 + ranks ** 2) * (strategy === "hsap" ? 4 : 1),
      labelOf: ({ inputs: { cluster, model, ranks, strategy, weights, recompute } }) =>
        `${cluster.split(" ")[0]} ${model} ${ranks} ranks: ${strategy}, ${weights}, ${recompute}`,
      what: "steps",
    },
    options,
  );
  return { experiment, ...result };
}

function plannedSearches({ name, sweep }: LongestSweep): PlannedSearch[] {
  const variants = sweep.strategies.flatMap((each) => {
    const placements: readonly (WeightPlacement | undefined)[] = placesWeights(each) ? sweep.weights : [undefined];
    return placements.map((weights) => ({ weights, strategy: layerStrategyNamed(each, weights) }));
  });
  const { grainOfRank, dtype, lossChunk, degrees } = sweep;
  return sweep.clusters.flatMap((from) =>
    sweep.models.flatMap((model) =>
      sweep.ranks.flatMap((ranks) => {
        const cluster = clusterOf({ ranks, from });
        const of = { experiment: name, model, cluster: clusterDigest(cluster), ranks, grainOfRank, dtype, lossChunk };
        return sweep.recompute.flatMap((recompute) =>
          variants.map(({ strategy, weights }): PlannedSearch => {
            const inputs: LongestTrialInputs = {
              ...of,
              recompute,
              strategy: strategy.name,
              weights: weights ?? "own",
              degrees,
            };
            return { cluster, strategy, inputs, key: keyOf(inputs) };
          }),
        );
      }),
    ),
  );
}

function trialOf(search: PlannedSearch, environment: string, likely: Degrees | undefined): LongestTrial {
  const { cluster, inputs, key } = search;
  const { name, memoryGiB = 0 } = cluster.device;
  return {
    ...inputs,
    ...{ schema: longestTrialVersion, key, environment },
    at: new Date().toISOString(),
    origin: "counted",
    device: { name, memoryGiB },
    outcome: outcomeOf(search, likely),
  };
}

function outcomeOf({ cluster, strategy, inputs }: PlannedSearch, likely: Degrees | undefined): LongestTrial["outcome"] {
  const { model, dtype, lossChunk, recompute, degrees, grainOfRank } = inputs;
  const problemAt = (tokens: number): ModelProblem => ({
    ...{ model: modelNamed(model), cluster, batch: packedBatch([tokens]), dtype, lossChunk, recompute },
  });
  try {
    const { tokens, memory, next, ...found } = longestFitting(problemAt, strategy, { degrees, grainOfRank, likely });
    if (next === undefined) throw new InputError(`unlimited tokens: ${inputs.strategy} (${tokens} fit)`);
    const of = { degrees: { ...found.degrees }, next: { ...next } };
    return memory === undefined
      ? { kind: "nothing fits", ...of }
      : { kind: "fits", tokens, memory: { ...memory }, ...of };
  } catch (error) {
    if (error instanceof InputError && error.message.startsWith("invalid degree"))
      return { kind: "refused", reason: error.message };
    throw error;
  }
}
