import { existsSync, readdirSync, readFileSync } from "node:fs";
import type { Cluster } from "@hsap/cluster";
import { InputError, mixNames } from "@hsap/workload";
import { parseDocument } from "yaml";
import { z } from "zod";
import { workspacePath } from "../workspace.ts";

export const count = z.int("must be a whole number of at least 1").min(1, "must be a whole number of at least 1");
export const list = <T extends z.ZodType>(item: T) => z.array(item).min(1, "must have at least 1 entry");
const scalar = z.union([z.string(), z.number(), z.boolean()]);

export const mixSchema = z.enum(mixNames, `must be one of ${mixNames.join(", ")}`);

const variantSchema = z.strictObject({
  strategy: z.string(),
  /** The strategy's own choice where left out; `all` that it proposes for the problem are a variant each. */
  degrees: z.union([z.literal("all"), z.record(z.string(), count)], 'must be "all" or a map of counts').optional(),
  options: z.record(z.string(), scalar).optional(),
  /** Where it is measured, if not on every mix and pass of the sweep. */
  mixes: list(mixSchema).optional(),
  passes: list(z.enum(["forward", "backward"])).optional(),
  /** How often it runs, if less often than the others: in the first repeats. */
  repeats: count.optional(),
});

const sweepSchema = z.strictObject({
  mixes: list(mixSchema),
  /** Tokens in a pack. */
  tokens: count,
  /** One pack is drawn for each seed. */
  seeds: list(z.int().min(0)),
  passes: list(z.enum(["forward", "backward"])),
  ranks: count,
  ranksPerNode: count,
  heads: count,
  kvHeads: count,
  headDim: count,
  dtype: z.enum(["fp32", "bf16"]),
  mask: z.enum(["causal", "full"]),
  strategies: list(variantSchema),
  repeats: count,
});

/** What every kind of experiment says of itself. */
export const titleSchema = z.strictObject({
  title: z.string(),
  /** The claim it tests, in one sentence. */
  claim: z.string(),
  /** Ratios are to this strategy. */
  baseline: z.string(),
});

const experimentSchema = titleSchema.extend({
  kind: z.literal("measured trials").optional(),
  /** Steps compiled just in time, one pack each, recorded beside the trials. None where left out. */
  pipeline: z.strictObject({ strategy: z.string(), mix: mixSchema, steps: count }).optional(),
  sweep: sweepSchema.partial(),
  /** What each profile changes of the sweep. Together with it a profile gives every value. */
  profiles: z.record(z.string(), sweepSchema.partial()),
});

export type ExperimentVariant = Readonly<z.infer<typeof variantSchema>>;
export type Sweep = Readonly<z.infer<typeof sweepSchema>>;

/** One experiment under one profile. */
export interface Experiment {
  readonly name: string;
  readonly title: string;
  readonly claim: string;
  readonly baseline: string;
  readonly profile: string;
  readonly pipeline?: Readonly<z.infer<typeof experimentSchema>>["pipeline"];
  readonly sweep: Sweep;
  /** The links and devices that strategies are told of; the preset `local` where left out. */
  readonly cluster?: Cluster;
}

/** The names of the experiments in `experiments/`. */
export function experimentNames(): string[] {
  const root = workspacePath("experiments");
  return readdirSync(root)
    .filter((name) => existsSync(`${root}/${name}/experiment.yaml`))
    .sort();
}

/** What an experiment does: it runs schedules and measures them, predicts training steps of whole models, looks for
 * the longest that fit, or compares losses of training. */
const experimentKinds = ["measured trials", "simulated model steps", "longest model steps", "training losses"] as const;
export type ExperimentKind = (typeof experimentKinds)[number];

/**
 * The kind of `experiments/NAME/experiment.yaml`: what it says, `measured trials` where it says nothing.
 *
 * @throws InputError if there is no such experiment.
 */
export function experimentKind(name: string): ExperimentKind {
  const { kind } = (parseDocument(experimentText(name).text).toJS() ?? {}) as { kind?: unknown };
  return experimentKinds.find((known) => known === kind) ?? "measured trials";
}

/**
 * Reads `experiments/NAME/experiment.yaml` under a profile.
 *
 * @throws InputError if there is no such experiment or profile, or the file is not valid.
 */
export function readExperiment(name: string, profile: string): Experiment {
  const { text, file } = experimentText(name);
  return parseExperiment(text, { name, profile, file });
}

/** The text of an experiment's file, and where it lies. */
export function experimentText(name: string): { readonly text: string; readonly file: string } {
  if (!experimentNames().includes(name)) {
    throw new InputError(`unknown experiment: ${name} (known: ${experimentNames().join(", ")})`);
  }
  const file = workspacePath(`experiments/${name}/experiment.yaml`);
  return { text: readFileSync(file, "utf8"), file };
}

/** Which experiment a text is, under which profile; `file` names it in messages. */
export interface ExperimentSource {
  readonly name: string;
  readonly profile: string;
  readonly file: string;
}

/** As `readExperiment`, from the text of a file. */
export function parseExperiment(text: string, source: ExperimentSource): Experiment {
  const { title, claim, baseline, pipeline, sweep } = underProfile(text, source, experimentSchema, sweepSchema);
  const { name, profile } = source;
  return { name, title, claim, baseline, profile, pipeline, sweep };
}

interface FileWithProfiles {
  readonly sweep: object;
  readonly profiles: Readonly<Record<string, object>>;
}

/** Parses a file, with the whole sweep that a profile gives. */
export function underProfile<F extends FileWithProfiles, S>(
  text: string,
  { name, profile, file }: ExperimentSource,
  fileSchema: z.ZodType<F>,
  wholeSweep: z.ZodType<S>,
): Omit<F, "sweep" | "profiles"> & { readonly sweep: S } {
  const document = parseDocument(text);
  if (document.errors.length > 0)
    throw new InputError(`invalid YAML: ${file} (${document.errors[0].message.split("\n")[0]})`);
  const { sweep, profiles, ...said } = checked(fileSchema, document.toJS(), file);
  if (!Object.hasOwn(profiles, profile)) {
    throw new InputError(`unknown profile: ${profile} (${name} has ${Object.keys(profiles).join(", ")})`);
  }
  return { ...said, sweep: checked(wholeSweep, { ...sweep, ...profiles[profile] }, `${file}, profile ${profile}`) };
}

function checked<T>(schema: z.ZodType<T>, value: unknown, where: string): T {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const [{ path, message }] = result.error.issues;
  const found = path.reduce((inner: unknown, key) => (inner as Record<PropertyKey, unknown> | undefined)?.[key], value);
  const named = path.join(".") || "experiment";
  if (found === undefined) throw new InputError(`missing ${named}: ${where} (${message})`);
  throw new InputError(`invalid ${named}: ${JSON.stringify(found)} in ${where} (${message})`);
}
