import { modelPresets } from "@hsap/model";
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

const modelNames = modelPresets.map(({ name }) => name);

const trainedSchema = z.strictObject({
  strategy: z.string(),
  /** Do what the published system does with packs, right or wrong. */
  faithful: z.boolean().optional(),
});

const lossSweepSchema = z.strictObject({
  model: z.enum(modelNames, `must be one of ${modelNames.join(", ")}`),
  mixes: list(mixSchema),
  /** Tokens of a step. */
  tokens: count,
  /** Of weights, documents and text; a run for each. */
  seeds: list(z.int().min(0)),
  ranks: count,
  ranksPerNode: count,
  steps: count,
  strategies: list(trainedSchema),
});

const lossFileSchema = titleSchema.extend({
  kind: z.literal("training losses", 'must be "training losses"'),
  sweep: lossSweepSchema.partial(),
  profiles: z.record(z.string(), lossSweepSchema.partial()),
});

/** Training runs that differ in nothing but how they are spread over ranks; what is compared is their loss. */
export interface LossExperiment {
  readonly name: string;
  readonly title: string;
  readonly claim: string;
  /** Differences are to this strategy. */
  readonly baseline: string;
  readonly profile: string;
  readonly sweep: Readonly<z.infer<typeof lossSweepSchema>>;
}

/**
 * Reads `experiments/NAME/experiment.yaml` under a profile.
 *
 * @throws InputError if there is no such experiment or profile, or the file is not valid or of another kind.
 */
export function readLossExperiment(name: string, profile: string): LossExperiment {
  const { text, file } = experimentText(name);
  return parseLossExperiment(text, { name, profile, file });
}

/** As `readLossExperiment`, from the text of a file. */
export function parseLossExperiment(text: string, source: ExperimentSource): LossExperiment {
  const { title, claim, baseline, sweep } = underProfile(text, source, lossFileSchema, lossSweepSchema);
  const { name, profile } = source;
  return { name, title, claim, baseline, profile, sweep };
}
