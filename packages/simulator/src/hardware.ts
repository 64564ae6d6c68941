import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import type { Cluster } from "@hsap/cluster";
import { type GroupKind, groupKinds } from "@hsap/schedule";
import { InputError } from "@hsap/workload";
import { parse } from "yaml";
import { z } from "zod";
import { type ProcessDevice, processDeviceSchema } from "./processes.ts";
import { type ThreadMachine, threadMachineSchema } from "./threads/thread-machine.ts";

/**
 * What the simulator knows of a device and of the libraries that drive it, besides what the cluster says of links and peaks.
 * Every number lies in a file of `hardware/` with its source.
 */
export interface Hardware {
  /** Devices that the numbers were made for; others take the same shares of their own peaks. */
  readonly devices: readonly string[];
  readonly kernels: Readonly<Record<string, Kernel>>;
  readonly memory: {
    /** Copies, gathers and sums of the kind that surround attention: share of the device's memory bandwidth. */
    readonly copyShare: number;
    /** Launch of one such kernel. */
    readonly launchUs: number;
  };
  /** Products of large matrices in the cluster's element type: share of the device's peak. */
  readonly matrix?: { readonly shareOfPeak: number } | undefined;
  /** Communication libraries by name. */
  readonly libraries: Readonly<Record<string, Communication>>;
  /** Where ranks are threads that share the cores of one machine: then a prediction is of that, unless a kernel is named. */
  readonly threads?: ThreadMachine | undefined;
  /** Where ranks are processes of such machines: then a prediction is of that, unless a kernel is named. */
  readonly processes?: ProcessDevice | undefined;
}

/** An attention kernel, and what its usual callers do around each call. */
export interface Kernel {
  readonly forward: KernelPass;
  readonly backward: KernelPass;
}

export interface KernelPass {
  /** Rate on endless tiles: share of the device's peak. */
  readonly shareOfPeak: number;
  /** Query rows, and keys, that one thread block takes at once. What is masked inside of such a square is computed all the same. */
  readonly tileRows: number;
  readonly tileColumns: number;
  /**
   * What a thread block costs before its first and after its last square, in keys (forward: a block keeps its queries) or
   * query rows (backward: a block keeps its keys) of further work.
   */
  readonly overheadTokens: number;
  /** From the launch until the first block runs, and from the last block until the next kernel starts. */
  readonly launchUs: number;
  /**
   * Time of a thread block without work. A call over many documents is launched as if each were as long as the longest, and
   * the blocks beyond a document's end find nothing to do; 0 for a kernel that deals out only blocks with work.
   */
  readonly emptyBlockUs: number;
  /** What the host needs to issue a call. It runs ahead of the device, and holds it up only if it needs longer for a whole step. */
  readonly hostUs: number;
  /** Bytes moved around each call: passes over its query rows (one pass: tokens * heads * headDim * element) and its k and v rows. */
  readonly queryPasses: number;
  readonly keyPasses: number;
  /** Further passes over query rows to which an earlier call has already added something. */
  readonly accumulatePasses: number;
}

export interface Communication {
  /** From the moment at which all are ready until the first byte leaves, besides the latency of the link. */
  readonly launchUs: number;
  /** What the host needs to issue a collective, and a group of sends and receives. */
  readonly collectiveHostUs: number;
  readonly p2pHostUs: number;
  /** Factor on the time of computation that runs while the rank's communication lane is busy. */
  readonly slowdown: number;
  /** Ranks that share one network card; together they get as many times a rank's bandwidth. */
  readonly ranksPerNic: number;
  /** Each step of a ring, inside a node and between nodes. */
  readonly hopUs: readonly [number, number];
  /** Highest share of the level's bandwidth that one pair of ranks reaches, inside a node and between nodes. */
  readonly pairShare: readonly [number, number];
  /** Share of that which each direction reaches where the two ranks of a pair send to each other in one group, likewise; 1 if left out. */
  readonly mutualShare?: readonly [number, number] | undefined;
  readonly collectives: Readonly<Partial<Record<GroupKind, Collective>>>;
}

export interface Collective {
  /** Before the first step of a ring. */
  readonly baseUs: number;
  /** `ring`: every rank waits for P - 1 steps, `tree`: for 2 log2 P, `pairs`: for one. */
  readonly algorithm: "ring" | "tree" | "pairs";
  /** Passes over what a rank sends and receives, to pack and unpack it. */
  readonly packPasses: number;
  /** Share of the links' line rate by the bytes of a rank's buffer, for so many nodes (the nearest in log scale is taken). */
  readonly shares: readonly CollectiveShare[];
  /** Line rate inside a node and between nodes, as a multiple of the bandwidth of the cluster's level. */
  readonly lineRate: readonly [number, number];
}

export interface CollectiveShare {
  readonly nodes: number;
  readonly points: readonly (readonly [bytes: number, share: number])[];
}

/**
 * The entry of that name; the one that stands first in the hardware file where no name is given.
 *
 * @throws InputError if there is none.
 */
export function namedEntry<Entry>(what: string, entries: Readonly<Record<string, Entry>>, name?: string) {
  const known = Object.keys(entries);
  const chosen = name ?? known[0];
  if (!known.includes(chosen)) throw new InputError(`unknown ${what}: ${chosen} (known: ${known.join(", ")})`);
  return { name: chosen, entry: entries[chosen] };
}

/**
 * The hardware file that names the cluster's device; for a device that none names, the file of the same element type that is
 * based on no other.
 *
 * @throws InputError if there is neither.
 */
export function hardwareOf({ device }: Cluster): Hardware {
  // Reading a file takes longer than most simulations, so those that do not name the device come last.
  const own = hardwareFiles()
    .filter(({ text }) => text.includes(device.name))
    .map(parsedOnce)
    .find(({ devices }) => devices.includes(device.name));
  const found =
    own ??
    hardwareFiles()
      .filter(({ text }) => !/^base:/m.test(text))
      .map(parsedOnce)
      .find(({ dtype }) => dtype === device.dtype);
  if (found === undefined) throw new InputError(`no hardware file for device: ${device.name} (${device.dtype})`);
  return found;
}

/** Whether the numbers were made for the cluster's own device, not taken over from another one. */
export const isOwnHardware = (hardware: Hardware, { device }: Cluster): boolean =>
  hardware.devices.includes(device.name);

/**
 * Reads a hardware file.
 *
 * @throws InputError if the file cannot be read or does not describe hardware.
 */
export function readHardware(file: string): Hardware {
  let text: string;
  try {
    text = readFileSync(file, "utf8");
  } catch (error) {
    throw new InputError(`unreadable hardware file: ${file} (${(error as Error).message.split("\n")[0]})`);
  }
  return parseHardware(text, file);
}

/**
 * Reads a hardware file's text. A number may be written bare or as `{ value: 0.7, source: where it comes from }`. With `base: h100`
 * whatever the text leaves out is as in that file of the project; kernels of its own come first.
 *
 * @throws InputError if the text does not describe hardware; `file` names it in the message.
 */
export function parseHardware(text: string, file: string): Hardware & { readonly dtype: string } {
  let raw: unknown;
  try {
    raw = rawHardware(text);
  } catch (error) {
    if (error instanceof InputError) throw error;
    throw new InputError(`invalid YAML: ${file} (${(error as Error).message.split("\n")[0]})`);
  }
  const parsed = hardwareSchema.safeParse(withoutSources(raw));
  if (parsed.success) return parsed.data as Hardware & { readonly dtype: string };
  const issue = parsed.error.issues[0];
  throw new InputError(`invalid hardware file: ${file} at ${issue.path.join(".")} (${issue.message})`);
}

/** Every source that the file names, by the path of its number. */
export function sourcesIn(text: string): Record<string, string> {
  const sources: Record<string, string> = {};
  const visit = (value: unknown, path: string): void => {
    if (typeof value !== "object" || value === null) return;
    const { source } = value as { source?: unknown };
    if (typeof source === "string" && "value" in value) sources[path] = source;
    else for (const [key, inner] of Object.entries(value)) visit(inner, path === "" ? key : `${path}.${key}`);
  };
  visit(rawHardware(text), "");
  return sources;
}

function rawHardware(text: string): unknown {
  const own: unknown = parse(text, { merge: true });
  if (!isMap(own) || own.base === undefined) return own;
  const { base, ...rest } = own;
  const found = hardwareFiles().find(({ name }) => name === `${base}.yaml`);
  if (found === undefined) throw new InputError(`unknown base: ${base} (must be a hardware file of the project)`);
  return merged(rest, rawHardware(found.text));
}

/** What `own` says, and of maps that both have whatever only `base` has; a number with its source is taken as a whole. */
function merged(own: unknown, base: unknown): unknown {
  if (!isMap(own) || !isMap(base) || "source" in own) return own;
  const both = Object.entries(own).map(([key, value]) => [key, key in base ? merged(value, base[key]) : value]);
  return { ...Object.fromEntries(both), ...Object.fromEntries(Object.entries(base).filter(([key]) => !(key in own))) };
}

const isMap = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

// Both src and dist are direct children of the package, so the files lie beside either.
const directory = fileURLToPath(new URL("../hardware/", import.meta.url));
let read: readonly HardwareFile[] | undefined;

interface HardwareFile {
  readonly name: string;
  readonly text: string;
  parsed?: Hardware & { readonly dtype: string };
}

function hardwareFiles(): readonly HardwareFile[] {
  read ??= readdirSync(directory)
    .filter((name) => name.endsWith(".yaml"))
    .sort()
    .map((name) => ({ name, text: readFileSync(`${directory}${name}`, "utf8") }));
  return read;
}

function parsedOnce(file: HardwareFile): Hardware & { readonly dtype: string } {
  file.parsed ??= parseHardware(file.text, file.name);
  return file.parsed;
}

const share = z.number().positive();
const amount = z.number().min(0);
const kernelPass = z.strictObject({
  shareOfPeak: share,
  tileRows: z.int().min(1),
  tileColumns: z.int().min(1),
  overheadTokens: amount,
  launchUs: amount,
  emptyBlockUs: amount,
  hostUs: amount,
  queryPasses: amount,
  keyPasses: amount,
  accumulatePasses: amount,
});
const collective = z.strictObject({
  baseUs: amount,
  algorithm: z.enum(["ring", "tree", "pairs"]),
  packPasses: amount,
  lineRate: z.tuple([share, share]),
  shares: z.array(z.strictObject({ nodes: z.int().min(1), points: z.array(z.tuple([share, share])).min(1) })).min(1),
});
const hardwareSchema = z.strictObject({
  devices: z.array(z.string()),
  dtype: z.enum(["fp32", "bf16"]),
  kernels: z.record(z.string(), z.strictObject({ forward: kernelPass, backward: kernelPass })),
  memory: z.strictObject({ copyShare: share, launchUs: amount }),
  matrix: z.strictObject({ shareOfPeak: share }).optional(),
  libraries: z.record(
    z.string(),
    z.strictObject({
      launchUs: amount,
      collectiveHostUs: amount,
      p2pHostUs: amount,
      slowdown: z.number().min(1),
      ranksPerNic: z.int().min(1),
      hopUs: z.tuple([amount, amount]),
      pairShare: z.tuple([share, share]),
      mutualShare: z.tuple([share, share]).optional(),
      collectives: z.partialRecord(z.enum(groupKinds), collective),
    }),
  ),
  threads: threadMachineSchema.optional(),
  processes: processDeviceSchema.optional(),
});

function withoutSources(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutSources);
  if (typeof value !== "object" || value === null) return value;
  if ("value" in value && "source" in value) return withoutSources((value as { value: unknown }).value);
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, withoutSources(inner)]));
}
