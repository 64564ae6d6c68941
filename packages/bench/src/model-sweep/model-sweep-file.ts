import { dirname, join } from "node:path";
import { type Cluster, presetCluster, readCluster } from "@hsap/cluster";
import { modelPresets, receivedKvs, recomputations, weightPlacements } from "@hsap/model";
import { InputError, mixNames } from "@hsap/workload";
import { z } from "zod";
import {
  count,
  type ExperimentSource,
  experimentText,
  list,
  mixSchema,
  titleSchema,
  underProfile,
} from "../experiment/experiment-file.ts";
import { chosenDegrees } from "../model/simulated-step.ts";

const layerVariantSchema = z.strictObject({
  strategy: z.string(),
  /** Of strategies that do not split weights themselves; sharded where left out. */
  weights: z.enum(weightPlacements).optional(),
  /** Weights that are not replicated are gathered a layer ahead; only when they are needed where left out. */
  prefetch: z.boolean().optional(),
  /** Fetched again where left out. */
  receivedKv: z.enum(receivedKvs).optional(),
  /** The strategy's own choice, without tensor ranks and data groups, where left out; `auto` and `fastest` as `simulatedStep` takes them. */
  degrees: z
    .union(
      [z.enum(chosenDegrees), z.record(z.string(), count)],
      `must be ${chosenDegrees.join(", ")} or a map of counts`,
    )
    .optional(),
});

const modelNames = modelPresets.map(({ name }) => name);
export const modelSchema = z.enum(modelNames, `must be one of ${modelNames.join(", ")}`);

/** Documents of one length, where no mix is drawn. */
const equalDocumentsSchema = z.strictObject({ documents: count, length: count });

const modelSweepSchema = z.strictObject({
  /** Presets, or files beside the experiment's. */
  clusters: list(z.string()),
  models: list(modelSchema),
  ranks: list(count),
  mixes: list(
    z.union(
      [mixSchema, equalDocumentsSchema],
      `must be one of ${mixNames.join(", ")}, or { documents: COUNT, length: TOKENS }`,
    ),
  ),
  /** Tokens of a step for each rank, of drawn mixes. */
  tokensPerRank: count.optional(),
  /** One batch is drawn for each seed. */
  seeds: list(z.int().min(0)),
  dtype: z.enum(["bf16", "fp32"]),
  lossChunk: count,
  /** What the backward pass may compute again: the first with which the step fits into the device, with any of the degrees tried. */
  recompute: list(z.enum(recomputations)),
  strategies: list(layerVariantSchema),
});

const modelSweepFileSchema = titleSchema.extend({
  kind: z.literal("simulated model steps", 'must be "simulated model steps"'),
  sweep: modelSweepSchema.partial(),
  /** What each profile changes of the sweep. Together with it a profile gives every value. */
  profiles: z.record(z.string(), modelSweepSchema.partial()),
});

export type EqualDocuments = Readonly<z.infer<typeof equalDocumentsSchema>>;
export type LayerVariant = Readonly<z.infer<typeof layerVariantSchema>>;

/** A sweep over whole training steps under one profile; times are simulated. */
export interface ModelSweep {
  readonly name: string;
  readonly title: string;
  readonly claim: string;
  readonly baseline: string;
  readonly profile: string;
  readonly sweep: Readonly<Omit<z.infer<typeof modelSweepSchema>, "clusters">> & {
    readonly clusters: readonly Cluster[];
  };
}

/**
 * Reads `experiments/NAME/experiment.yaml` under a profile.
 *
 * @throws InputError if there is no such experiment or profile, or the file is not valid or of another kind.
 */
export function readModelSweep(name: string, profile: string): ModelSweep {
  const { text, file } = experimentText(name);
  return parseModelSweep(text, { name, profile, file });
}

/** As `readModelSweep`, from the text of a file. */
export function parseModelSweep(text: string, source: ExperimentSource): ModelSweep {
  const { title, claim, baseline, sweep } = underProfile(text, source, modelSweepFileSchema, modelSweepSchema);
  const clusters = sweep.clusters.map((given) => clusterBeside(source.file, given));
  const { name, profile } = source;
  return { name, title, claim, baseline, profile, sweep: { ...sweep, clusters } };
}

/**
 * A preset, or a file beside the experiment's.
 *
 * @throws InputError as `withMemory` does.
 */
export const clusterBeside = (file: string, given: string): Cluster =>
  withMemory(/\.ya?ml$/i.test(given) ? readCluster(join(dirname(file), given)) : presetCluster(given));

/**
 * Returns the cluster.
 *
 * @throws InputError if the memory of its devices is not known, as then nothing could be said of what fits.
 */
export function withMemory(cluster: Cluster): Cluster {
  if (cluster.device.memoryGiB !== undefined) return cluster;
  throw new InputError(`unknown memory: ${cluster.device.name} of ${cluster.name} (its profile has no memoryGiB)`);
}
