import { clusterOf } from "@hsap/cluster";
import { type LayerStrategy, type ModelProblem, modelNamed } from "@hsap/model";
import { layerStrategyNamed } from "@hsap/training";
import {
  documentsOf,
  InputError,
  lengthsOf,
  type MixName,
  mixPack,
  type PackedBatch,
  packedBatch,
  tokensOf,
} from "@hsap/workload";
import { clusterDigest, keyOf, lengthsDigest } from "../trial.ts";
import type { EqualDocuments, LayerVariant, ModelSweep } from "./model-sweep-file.ts";
import type { ModelTrialInputs } from "./model-trial.ts";

/** A step to predict: with which strategy, and all that decides it. */
export interface PlannedStep {
  readonly problem: ModelProblem;
  readonly strategy: LayerStrategy;
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
 * All steps of a sweep, small ones first within each cluster. Those of one cell have the same batch, and those of one strategy and placement
 * of weights the same strategy, so that what is known of one serves the others.
 *
 * @throws InputError if there is no such strategy, or it takes no such degrees.
 */
export function plannedSteps(experiment: ModelSweep): PlannedStep[] {
  const named = new Map<string, LayerStrategy>();
  const variants = experiment.sweep.strategies.map((variant) => {
    const { strategy: name, weights } = variant;
    const strategy = named.get(`${name} ${weights}`) ?? layerStrategyNamed(name, weights);
    named.set(`${name} ${weights}`, strategy);
    return { variant, strategy };
  });
  return cellsOf(experiment).flatMap((cell) =>
    variants.map(({ variant, strategy }) => stepOf(experiment, cell, variant, strategy)),
  );
}

function cellsOf({ sweep }: ModelSweep): SweepCell[] {
  const { clusters, models, ranks, mixes, seeds, tokensPerRank, dtype, lossChunk } = sweep;
  return clusters.flatMap((from) =>
    ranks.flatMap((count) =>
      mixes.flatMap((mix) =>
        seeds.flatMap((seed) => {
          const batch = batchOf(mix, { tokensPerRank, ranks: count, seed });
          const cluster = clusterOf({ ranks: count, from });
          return models.map((name) => ({
            ...{ mix: mixLabel(mix), seed },
            problem: { model: modelNamed(name), batch, cluster, dtype, lossChunk },
          }));
        }),
      ),
    ),
  );
}

/** What a trial says of its documents: the name of a mix, or `16 x 8192`. */
const mixLabel = (mix: MixName | EqualDocuments): string =>
  typeof mix === "string" ? mix : `${mix.documents} x ${mix.length}`;

function batchOf(
  mix: MixName | EqualDocuments,
  { tokensPerRank, ranks, seed }: { tokensPerRank: number | undefined; ranks: number; seed: number },
): PackedBatch {
  if (typeof mix !== "string") return packedBatch(new Array<number>(mix.documents).fill(mix.length));
  if (tokensPerRank === undefined) throw new InputError(`missing tokensPerRank: the mix ${mix} is drawn to that`);
  return mixPack(mix, { tokens: tokensPerRank * ranks, seed });
}

function stepOf(
  experiment: ModelSweep,
  cell: SweepCell,
  { strategy: name, weights, degrees, prefetch, receivedKv }: LayerVariant,
  strategy: LayerStrategy,
): PlannedStep {
  for (const degree of Object.keys(typeof degrees === "object" ? degrees : {}))
    if (!strategy.degreeNames.includes(degree))
      throw new InputError(`unknown degree: ${degree} (${name} takes ${strategy.degreeNames.join(", ")})`);
  const inputs: ModelTrialInputs = {
    ...inputsOf(experiment, cell),
    strategy: name,
    weights: weights ?? (placesWeights(name) ? "sharded" : "own"),
    degrees: degrees ?? "own",
    ...(prefetch && { prefetch }),
    ...(receivedKv === "keep" && { receivedKv }),
  };
  const problem = { ...cell.problem, prefetch: prefetch ?? false, receivedKv: receivedKv ?? "fetch" };
  return { problem, strategy, inputs, key: keyOf(inputs) };
}

/** Megatron splits its weights itself. */
export const placesWeights = (strategy: string): boolean => strategy !== "megatron";

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
