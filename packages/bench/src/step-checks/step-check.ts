import { modelPresets, receivedKvs, recomputations, weightPlacements } from "@hsap/model";
import { z } from "zod";
import { readLog, type TrialLog } from "../results/trial-log.ts";

/** Changes whenever a field changes its meaning; readers refuse what they do not know. */
export const stepCheckVersion = "hsap-step-check/1";

const positive = z.int().min(1);

/** Everything that decides the numbers of a step except the machine and the code. */
export const stepCheckInputs = z.strictObject({
  model: z.enum(modelPresets.map(({ name }) => name)),
  mix: z.string(),
  tokens: positive,
  seed: z.int().min(0),
  dtype: z.enum(["fp32", "bf16"]),
  ranks: positive,
  ranksPerNode: positive,
  strategy: z.string(),
  /** As it was asked for; null is the strategy's own choice. */
  degrees: z.record(z.string(), positive).nullable(),
  options: z.record(z.string(), z.union([z.string(), z.number(), z.boolean()])),
  /** Left out where the strategy splits its weights itself. */
  weights: z.enum(weightPlacements).optional(),
  recompute: z.enum(recomputations),
  receivedKv: z.enum(receivedKvs),
  prefetch: z.boolean(),
  overlap: z.literal(true).optional(),
  /** Whether tokens may attend across document borders, as in some published systems. */
  contaminated: z.boolean(),
});

/** The first step of one strategy beside that of one rank: a line of `trials.jsonl`. */
export const stepCheckSchema = stepCheckInputs.extend({
  schema: z.literal(stepCheckVersion),
  key: z.string(),
  /** The id of a record in `environment.json`. */
  environment: z.string(),
  /** When it ended, ISO 8601. */
  at: z.string(),
  origin: z.literal("measured"),
  /** With those that were left out. */
  usedDegrees: z.record(z.string(), positive),
  /** Why the strategy cannot have all ranks for one sequence, where it has data groups instead. */
  refusal: z.string().optional(),
  /** What it is compared with: a step in float64, or the engine's own on one rank. */
  by: z.enum(["float64", "one rank"]),
  /** Of that step, nats. */
  expectedLoss: z.number(),
  /** Relative difference of the loss, and the largest relative L2 error of any gradient, and of which; null where that is no number. */
  lossError: z.number().nullable(),
  gradientError: z.number().nullable(),
  worstGradient: z.string(),
  /** The most that both may be where that is not what fp32 allows. */
  allowed: z.strictObject({ loss: z.number(), gradient: z.number() }).optional(),
  /** All stages of forward and backward pass, milliseconds. */
  runMs: z.number(),
});

export type StepCheckInputs = Readonly<z.infer<typeof stepCheckInputs>>;
export type StepCheck = Readonly<z.infer<typeof stepCheckSchema>>;

/**
 * The checks of a log, none where there is no file.
 *
 * @throws InputError if a complete line is not a check of this schema version.
 */
export const readStepChecks = (file: string): TrialLog<StepCheck> => readLog(file, stepCheckSchema, stepCheckVersion);
