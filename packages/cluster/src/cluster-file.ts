import { readFileSync } from "node:fs";
import { InputError } from "@hsap/workload";
import { parseDocument } from "yaml";
import { z } from "zod";
import { type Cluster, spansOf } from "./cluster.ts";

/**
 * Reads a cluster from a YAML file. A number may be written bare or as `{ value: 450, source: where it comes from }`;
 * `ranks` may be left out where every unit of every level is full.
 *
 * @throws InputError if the file cannot be read or does not describe a cluster: one line with file, path and value.
 */
export function readCluster(file: string): Cluster {
  let text: string;
  try {
    text = readFileSync(file, "utf8");
  } catch (error) {
    throw new InputError(`unreadable cluster file: ${file} (${firstLine((error as Error).message)})`);
  }
  return parseCluster(text, file);
}

/** As `readCluster`, from the text of a file; `file` names it in messages. */
export function parseCluster(text: string, file: string): Cluster {
  const document = parseDocument(text);
  if (document.errors.length > 0) {
    throw new InputError(`invalid YAML: ${file} (${firstLine(document.errors[0].message)})`);
  }
  const raw = liftSources(document.toJS());
  const parsed = clusterSchema.safeParse(raw);
  if (!parsed.success) throw new InputError(schemaMessage(parsed.error.issues[0], raw, file));
  return withRanks(parsed.data, file);
}

const positive = z.number("must be a number above 0").positive("must be a number above 0");
const count = z.int("must be a whole number of at least 1").min(1, "must be a whole number of at least 1");
const name = z.string("must be a name").min(1, "must be a name");
const sources = z.record(z.string(), z.string("must be a text")).optional();

const levelSchema = z.strictObject({
  name,
  size: count,
  bandwidthGBps: positive,
  latencyUs: z.number("must be a number of at least 0").min(0, "must be a number of at least 0"),
  ranksPerLink: count.optional(),
  pairGBps: positive.optional(),
  sources,
});

const deviceSchema = z.strictObject({
  name,
  peakTflops: positive,
  dtype: z.enum(["fp32", "bf16"], "must be fp32 or bf16"),
  memoryGiB: positive.optional(),
  memoryBandwidthGBps: positive.optional(),
  sources,
});

const clusterSchema = z.strictObject(
  {
    name,
    levels: z.array(levelSchema, "must be a list of levels").min(1, "must be a list of at least 1 level"),
    ranks: count.optional(),
    device: deviceSchema,
  },
  "must be a map with name, levels and device",
);

function withRanks({ ranks, ...rest }: z.infer<typeof clusterSchema>, file: string): Cluster {
  const spans = spansOf(rest.levels);
  const capacity = spans[spans.length - 1];
  if (ranks !== undefined && ranks > capacity) {
    throw new InputError(`invalid ranks: ${ranks} in ${file} (the levels hold ${capacity})`);
  }
  // The schema leaves optional fields out where the file does, so the cast only drops `undefined` from their types.
  return { ...rest, ranks: ranks ?? capacity } as Cluster;
}

/** Replaces each `{ value, source }` by its value, and collects the sources of a map's numbers in `sources` beside them. */
function liftSources(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(liftSources);
  if (!isMap(value)) return value;
  const lifted: Record<string, unknown> = {};
  const found: Record<string, string> = {};
  for (const [key, entry] of Object.entries(value)) {
    if (isMap(entry) && "value" in entry && typeof entry.source === "string") {
      lifted[key] = entry.value;
      found[key] = entry.source;
    } else {
      lifted[key] = liftSources(entry);
    }
  }
  return Object.keys(found).length > 0 ? { ...lifted, sources: found } : lifted;
}

function schemaMessage(issue: z.core.$ZodIssue, raw: unknown, file: string): string {
  if (issue.code === "unrecognized_keys") {
    return `unknown key: ${pathText([...issue.path, issue.keys[0]])} in ${file} (remove it or correct its name)`;
  }
  const value = issue.path.reduce((inner: unknown, key) => (inner as Record<PropertyKey, unknown>)?.[key], raw);
  const path = pathText(issue.path);
  if (value === undefined) return `missing ${path}: ${file} (${issue.message})`;
  return `invalid ${path}: ${JSON.stringify(value)} in ${file} (${issue.message})`;
}

function pathText(path: readonly PropertyKey[]): string {
  if (path.length === 0) return "cluster";
  return path
    .map((key) => (typeof key === "number" ? `[${key}]` : `.${String(key)}`))
    .join("")
    .replace(/^\./, "");
}

function isMap(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function firstLine(text: string): string {
  return text.split("\n")[0].replace(/:$/, "");
}
