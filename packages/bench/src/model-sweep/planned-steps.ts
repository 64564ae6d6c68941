import { clusterOf } from "@hsap/cluster";
import { type LayerStrategy, type ModelProblem, modelNamed } from "@hsap/model";
import type { Degrees } from "@hsap/schedule";
import { layerStrategyNamed } from "@hsap/training";
import { documentsOf, InputError, lengthsOf, mixPack, tokensOf } from "@hsap/workload";
import { clusterDigest, keyOf, lengthsDigest } from "../trial.ts";
import type { LayerVariant, ModelSweep } from "./model-sweep-file.ts";
import type { ModelTrialInputs } from "./model-trial.ts";

/** A step to predict: with which strategy, and all that decides it. */
export interface PlannedStep {
  readonly problem: ModelProblem;
  readonly strategy: LayerStrategy;
  readonly ownChoice: boolean;
  readonly inputs: ModelTrialInputs;
  readonly key: string;
}

/** A batch of a model on a cluster, and what is tried with it. */
interface SweepCell {
  readonly problem: ModelProblem;
  readonly mix: string;
  readonly seed: number;
}

/**
 * All steps of a sweep, small ones first within each cluster, so that what takes long comes last.
 *
 * @throws InputError if there is no such strategy, or it takes no such degrees.
 */
export function plannedSteps(experiment: ModelSweep): PlannedStep[] {
  const { strategies } = experiment.sweep;
  return cellsOf(experiment).flatMap((cell) => strategies.flatMap((variant) => stepsOf(experiment, cell, variant)));
}

function cellsOf({ sweep }: ModelSweep): SweepCell[] {
  const { clusters, models, ranks, mixes, seeds, tokensPerRank, dtype, lossChunk } = sweep;
  return clusters.flatMap((from) =>
    ranks.flatMap((count) =>
      mixes.flatMap((mix) =>
        seeds.flatMap((seed) => {
          const batch = mixPack(mix, { tokens: tokensPerRank * count, seed });
          const cluster = clusterOf({ ranks: count, from });
          return models.map((name) => ({
            ...{ mix, seed },
            problem: { model: modelNamed(name), batch, cluster, dtype, lossChunk },
          }));
        }),
      ),
    ),
  );
}

/** One step, or with degrees `all` as many as the strategy proposes; its own choice comes first. */
function stepsOf(experiment: ModelSweep, cell: SweepCell, variant: LayerVariant): PlannedStep[] {
  const { problem } = cell;
  const { weights } = variant;
  const strategy = layerStrategyNamed(variant.strategy, weights);
  const own = strategy.defaultDegrees(problem);
  const given = variant.degrees;
  for (const name of Object.keys(typeof given === "object" ? given : {}))
    if (!strategy.degreeNames.includes(name))
      throw new InputError(`unknown degree: ${name} (${strategy.name} takes ${strategy.degreeNames.join(", ")})`);
  const isOwn = (degrees: Degrees) => sameDegrees(degrees, own);
  const candidates =
    given === "all"
      ? [own, ...strategy.candidateDegrees(problem).filter((degrees) => !isOwn(degrees))]
      : [given ?? own];
  const placement = weights ?? (layerStrategyPlacesWeights(variant.strategy) ? "sharded" : "own");
  return candidates.map((degrees) => {
    const inputs: ModelTrialInputs = {
      ...inputsOf(experiment, cell),
      strategy: strategy.name,
      weights: placement,
      degrees: { ...degrees },
    };
    return { problem, strategy, ownChoice: isOwn(degrees), inputs, key: keyOf(inputs) };
  });
}

/** Megatron splits its weights itself. */
const layerStrategyPlacesWeights = (name: string): boolean => name !== "megatron";

/** A degree that is left out is 1. */
function sameDegrees(a: Degrees, b: Degrees): boolean {
  return [...new Set([...Object.keys(a), ...Object.keys(b)])].every((name) => (a[name] ?? 1) === (b[name] ?? 1));
}

function inputsOf({ name, sweep }: ModelSweep, { problem, mix, seed }: SweepCell) {
  const { model, batch, cluster, dtype, lossChunk } = problem;
  return {
    experiment: name,
    model: model.name,
    cluster: clusterDigest(cluster),
    ranks: cluster.ranks,
    batch: {
      ...{ mix, seed },
      documents: documentsOf(batch),
      tokens: tokensOf(batch),
      lengthsDigest: lengthsDigest(lengthsOf(batch)),
    },
    ...{ dtype, lossChunk },
    recompute: [...sweep.recompute],
  };
}
