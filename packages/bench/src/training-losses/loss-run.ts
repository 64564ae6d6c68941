import { z } from "zod";
import { readLog, type TrialLog } from "../results/trial-log.ts";

/** Changes whenever a field changes its meaning; readers refuse what they do not know. */
export const lossRunVersion = "hsap-training-run/1";

const positive = z.int().min(1);

/** Everything that decides the losses of a run except the machine and the code. */
export const lossRunInputs = z.strictObject({
  experiment: z.string(),
  model: z.string(),
  mix: z.string(),
  tokens: positive,
  seed: z.int().min(0),
  ranks: positive,
  ranksPerNode: positive,
  steps: positive,
  strategy: z.string(),
  /** Whether packs are treated as the published system does; schedules may then attend across document borders, and nothing else. */
  faithful: z.boolean(),
});

/** One training run: a line of `trials.jsonl`. */
export const lossRunSchema = lossRunInputs.extend({
  schema: z.literal(lossRunVersion),
  key: z.string(),
  /** The id of a record in `environment.json`. */
  environment: z.string(),
  /** When it ended, ISO 8601. */
  at: z.string(),
  origin: z.literal("measured"),
  /** Mean over the tokens of each step, nats, before the step is taken. */
  losses: z.array(z.number()),
  /** L2 norm over all gradients of each step. */
  gradientNorms: z.array(z.number()),
});

export type LossRunInputs = Readonly<z.infer<typeof lossRunInputs>>;
export type LossRun = Readonly<z.infer<typeof lossRunSchema>>;

/**
 * The runs of a log, none where there is no file.
 *
 * @throws InputError if a complete line is not a run of this schema version.
 */
export const readLossRuns = (file: string): TrialLog<LossRun> => readLog(file, lossRunSchema, lossRunVersion);

/** `ring`, or `ring as published`. */
export const lossRunName = ({ strategy, faithful }: Pick<LossRun, "strategy" | "faithful">): string =>
  faithful ? `${strategy} as published` : strategy;
