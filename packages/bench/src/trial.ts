import { createHash } from "node:crypto";
import type { Cluster } from "@hsap/cluster";
import { z } from "zod";

/** Changes whenever a field changes its meaning; readers refuse what they do not know. */
export const trialSchemaVersion = "hsap-trial/1";

const count = z.int().min(0);
const positive = z.int().min(1);
const milliseconds = z.number().min(0);
const degrees = z.record(z.string(), positive);
const options = z.record(z.string(), z.union([z.string(), z.number(), z.boolean()]));
const spread = z.strictObject({ mean: z.number(), max: z.number(), total: z.number() });

/** What a trial measures: everything that decides its result except the machine. */
export const trialInputs = z.strictObject({
  experiment: z.string(),
  problem: z.strictObject({
    /** The mix or pack that the documents come from, or `docs`. */
    mix: z.string(),
    seed: count,
    documents: positive,
    tokens: positive,
    /** Digest of the document lengths, in order (see `lengthsDigest`). */
    lengthsDigest: z.string(),
    heads: positive,
    kvHeads: positive,
    headDim: positive,
    dtype: z.enum(["fp32", "bf16"]),
    mask: z.enum(["causal", "full"]),
    pass: z.enum(["forward", "backward"]),
  }),
  ranks: positive,
  ranksPerNode: positive,
  /** Name and digest of the links that strategies were told of, if not those of the preset `local`. */
  cluster: z.string().optional(),
  strategy: z.string(),
  degrees,
  options,
  repeat: count,
});

/** One measured run of one schedule: a line of `trials.jsonl`. Times are milliseconds, sizes bytes. */
export const trialSchema = trialInputs.extend({
  schema: z.literal(trialSchemaVersion),
  key: z.string(),
  /** The id of a record in `environment.json`. */
  environment: z.string(),
  /** When the run began, ISO 8601. */
  at: z.string(),
  /** Where the times come from. The rest is counted from the schedule. */
  origin: z.literal("measured"),
  /** From the moment at which all ranks were ready until the last one finished. */
  wallMs: milliseconds,
  /** Processor time of each rank's own threads, by lane. */
  cpuMs: z.strictObject({ computation: z.array(milliseconds), communication: z.array(milliseconds) }),
  /** The path through the slowest rank of each stage, with a core for each rank and free transfers (see `criticalPathMs`). */
  criticalPathMs: milliseconds,
  /** The same with all the overlap that the schedule allows: the bound from below (see `longestChainMs`). */
  longestChainMs: milliseconds,
  /** Unmasked (query, key) pairs of one head of the whole batch. */
  area: z.number().min(0),
  bytes: z.strictObject({ received: spread, betweenNodes: z.number().min(0) }),
  /** Highest rank / mean over ranks. */
  balance: z.strictObject({ area: z.number(), tokens: z.number() }),
  peakBytes: z.strictObject({ mean: z.number(), max: z.number() }),
  compileMs: milliseconds,
  verifyMs: milliseconds,
  /** The schedule broke no rule of the verifier. */
  verified: z.boolean(),
  /** Relative L2 error of each output against the float64 reference. */
  error: z.partialRecord(z.enum(["o", "lse", "dq", "dk", "dv"]), z.number()),
  /** The output bits are those of the run that warmed up. */
  sameBits: z.boolean(),
  /** Digest of all output bits. */
  digest: z.string(),
  /** The instruction set of the kernels. */
  isa: z.string(),
});

export type TrialInputs = Readonly<z.infer<typeof trialInputs>>;
export type Trial = Readonly<z.infer<typeof trialSchema>>;

/** Names a trial by its inputs: equal inputs give equal keys, whatever the order of their fields. */
export function trialKey(inputs: TrialInputs): string {
  return keyOf(inputs);
}

/** As `trialKey`, of inputs of any kind. */
export function keyOf(inputs: object): string {
  return createHash("sha256").update(canonicalJson(inputs)).digest("hex").slice(0, 20);
}

/** Names a strategy with its degrees and options: `hsap ulysses=2 sap=4`. A single degree says nothing and is left out. */
export function variantName({
  strategy,
  degrees,
  options = {},
}: Pick<TrialInputs, "strategy" | "degrees"> & { options?: TrialInputs["options"] }): string {
  const shown = Object.keys(degrees).length > 1 ? Object.entries(degrees) : [];
  return [strategy, ...[...shown, ...Object.entries(options)].map(([name, value]) => `${name}=${value}`)].join(" ");
}

/** Digest of document lengths, in order. */
export function lengthsDigest(lengths: ArrayLike<number>): string {
  return createHash("sha256").update(Array.from(lengths).join(",")).digest("hex").slice(0, 16);
}

/** Name and digest of what a strategy may read of a cluster, whatever its size. */
export function clusterDigest({ name, levels, device }: Cluster): string {
  const links = levels.map(({ bandwidthGBps, latencyUs }) => ({ bandwidthGBps, latencyUs }));
  return `${name} ${createHash("sha256").update(canonicalJson({ links, device })).digest("hex").slice(0, 8)}`;
}

function canonicalJson(value: unknown): string {
  return JSON.stringify(value, (_, inner: unknown) =>
    typeof inner === "object" && inner !== null && !Array.isArray(inner)
      ? Object.fromEntries(Object.entries(inner).sort(([a], [b]) => (a < b ? -1 : 1)))
      : inner,
  );
}
