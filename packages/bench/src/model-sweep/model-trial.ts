import { recomputations, stageNames, weightPlacements } from "@hsap/model";
import { z } from "zod";
import { chosenDegrees } from "../model/simulated-step.ts";
import { readLog, type TrialLog } from "../results/trial-log.ts";

/** Changes whenever a field changes its meaning; readers refuse what they do not know. */
export const modelTrialVersion = "hsap-model-step/1";

const count = z.int().min(0);
const positive = z.int().min(1);
const amount = z.number().min(0);
const degrees = z.record(z.string(), positive);

/** Everything that decides a predicted step except the code. */
export const modelTrialInputs = z.strictObject({
  experiment: z.string(),
  model: z.string(),
  /** Name and digest of the links and devices. */
  cluster: z.string(),
  ranks: positive,
  batch: z.strictObject({
    mix: z.string(),
    seed: count,
    documents: positive,
    tokens: positive,
    lengthsDigest: z.string(),
  }),
  dtype: z.enum(["bf16", "fp32"]),
  lossChunk: positive,
  /** Tried in this order until the step fits. */
  recompute: z.array(z.enum(recomputations)),
  strategy: z.string(),
  /** `own` where the strategy splits them itself. */
  weights: z.enum([...weightPlacements, "own"]),
  /** Left out where they are as usual: weights gathered when they are needed, and other ranks' keys and values fetched again. */
  prefetch: z.literal(true).optional(),
  receivedKv: z.literal("keep").optional(),
  /** Given ones; or how they are chosen: `own` is the strategy's choice without tensor ranks and data groups. */
  degrees: z.union([z.enum(["own", ...chosenDegrees]), degrees]),
});

const predicted = {
  degrees,
  recompute: z.enum(recomputations),
  /** One run of each stage, milliseconds. */
  stageMs: z.strictObject(Object.fromEntries(stageNames.map((name) => [name, amount]))),
  optimiserMs: amount,
  stepMs: amount,
  tokensPerSecond: amount,
  tflopsPerDevice: amount,
  mfu: amount,
  /** Of the rank that needs most, by kind, bytes; counted. */
  memory: z.record(z.string(), amount),
} as const;

const outcome = z.discriminatedUnion("kind", [
  z.strictObject({ kind: z.literal("fits"), ...predicted }),
  /** With the last of `recompute`; its times are those of a device with more memory. */
  z.strictObject({ kind: z.literal("out of memory"), ...predicted }),
  /** The strategy cannot split this model so, in its own words. */
  z.strictObject({ kind: z.literal("refused"), reason: z.string() }),
]);

/** One predicted training step: a line of `trials.jsonl`. */
export const modelTrialSchema = modelTrialInputs.extend({
  schema: z.literal(modelTrialVersion),
  key: z.string(),
  /** The id of a record in `environment.json`. */
  environment: z.string(),
  at: z.string(),
  /** Where the times come from. Memory is counted from the schedules. */
  origin: z.literal("simulated"),
  device: z.strictObject({ name: z.string(), memoryGiB: z.number(), peakTflops: z.number() }),
  outcome,
});

export type ModelTrialInputs = Readonly<z.infer<typeof modelTrialInputs>>;
export type ModelTrial = Readonly<z.infer<typeof modelTrialSchema>>;
export type PredictedStep = Extract<ModelTrial["outcome"], { kind: "fits" | "out of memory" }>;

/**
 * The trials of a model sweep's log, none where there is no file.
 *
 * @throws InputError if a complete line is not a trial of this schema version.
 */
export const readModelTrials = (file: string): TrialLog<ModelTrial> =>
  readLog(file, modelTrialSchema, modelTrialVersion);
