import type { Cluster } from "@hsap/cluster";
import { recomputations, weightPlacements } from "@hsap/model";
import { z } from "zod";
import {
  count,
  type ExperimentSource,
  experimentText,
  list,
  titleSchema,
  underProfile,
} from "../experiment/experiment-file.ts";
import { clusterBeside, modelSchema } from "../model-sweep/model-sweep-file.ts";

const longestSweepSchema = z.strictObject({
  /** Presets, or files beside the experiment's. */
  clusters: list(z.string()),
  models: list(modelSchema),
  ranks: list(count),
  /** Lengths are multiples of so many tokens for each rank. */
  grainOfRank: count,
  dtype: z.enum(["bf16", "fp32"]),
  lossChunk: count,
  recompute: list(z.enum(recomputations)),
  /** Of strategies that do not split weights themselves. */
  weights: list(z.enum(weightPlacements)),
  strategies: list(z.string()),
  degrees: z.enum(["own", "most"]),
});

const longestSweepFileSchema = titleSchema.extend({
  kind: z.literal("longest model steps", 'must be "longest model steps"'),
  sweep: longestSweepSchema.partial(),
  /** What each profile changes of the sweep. Together with it a profile gives every value. */
  profiles: z.record(z.string(), longestSweepSchema.partial()),
});

/** A sweep over the longest steps that fit into devices, under one profile. */
export interface LongestSweep {
  readonly name: string;
  readonly title: string;
  readonly claim: string;
  readonly baseline: string;
  readonly profile: string;
  readonly sweep: Readonly<Omit<z.infer<typeof longestSweepSchema>, "clusters">> & {
    readonly clusters: readonly Cluster[];
  };
}

/**
 * Reads `experiments/NAME/experiment.yaml` under a profile.
 *
 * @throws InputError if there is no such experiment or profile, the file is not valid or of another kind, or a device's memory is not known.
 */
export function readLongestSweep(name: string, profile: string): LongestSweep {
  const { text, file } = experimentText(name);
  return parseLongestSweep(text, { name, profile, file });
}

/** As `readLongestSweep`, from the text of a file. */
export function parseLongestSweep(text: string, source: ExperimentSource): LongestSweep {
  const { kind: _, sweep, ...said } = underProfile(text, source, longestSweepFileSchema, longestSweepSchema);
  const clusters = sweep.clusters.map((given) => clusterBeside(source.file, given));
  return { ...said, name: source.name, profile: source.profile, sweep: { ...sweep, clusters } };
}
