import { type RankMemory, recomputations, weightPlacements } from "@hsap/model";
import { z } from "zod";
import { readLog, type TrialLog } from "../results/trial-log.ts";

/** Changes whenever a field changes its meaning; readers refuse what they do not know. */
export const longestTrialVersion = "hsap-longest-step/1";

const positive = z.int().min(1);
const bytes = z.number().min(0);
const degrees = z.record(z.string(), positive);
const memory = z.strictObject({
  weights: bytes,
  gradients: bytes,
  optimiser: bytes,
  activations: bytes,
  working: bytes,
  total: bytes,
} satisfies Record<keyof RankMemory, z.ZodType<number>>);

/** Everything that decides a longest step except the code. */
export const longestTrialInputs = z.strictObject({
  experiment: z.string(),
  model: z.string(),
  /** Name and digest of the links and devices. */
  cluster: z.string(),
  ranks: positive,
  /** A step is one sequence of a multiple of this many tokens for each rank. */
  grainOfRank: positive,
  dtype: z.enum(["bf16", "fp32"]),
  lossChunk: positive,
  recompute: z.enum(recomputations),
  strategy: z.string(),
  /** `own` where the strategy splits them itself. */
  weights: z.enum([...weightPlacements, "own"]),
  /** Given ones; the strategy's own choice without tensor ranks; or of all that it proposes those that fit most. */
  degrees: z.union([z.enum(["own", "most"]), degrees]),
});

const outcome = z.discriminatedUnion("kind", [
  z.strictObject({
    kind: z.literal("fits"),
    degrees,
    tokens: positive,
    /** Of the rank that needs most, by kind, bytes; counted from the schedules. */
    memory,
    /** The same of the next longer step, which does not fit. */
    next: memory,
  }),
  z.strictObject({ kind: z.literal("nothing fits"), degrees, next: memory }),
  /** The strategy cannot split this model so, in its own words. */
  z.strictObject({ kind: z.literal("refused"), reason: z.string() }),
]);

/** The longest step of one strategy: a line of `trials.jsonl`. */
export const longestTrialSchema = longestTrialInputs.extend({
  schema: z.literal(longestTrialVersion),
  key: z.string(),
  /** The id of a record in `environment.json`. */
  environment: z.string(),
  at: z.string(),
  /** Nothing runs and nothing is simulated. */
  origin: z.literal("counted"),
  device: z.strictObject({ name: z.string(), memoryGiB: z.number() }),
  outcome,
});

export type LongestTrialInputs = Readonly<z.infer<typeof longestTrialInputs>>;
export type LongestTrial = Readonly<z.infer<typeof longestTrialSchema>>;

/**
 * The trials of a log, none where there is no file.
 *
 * @throws InputError if a complete line is not a trial of this schema version.
 */
export const readLongestTrials = (file: string): TrialLog<LongestTrial> =>
  readLog(file, longestTrialSchema, longestTrialVersion);
