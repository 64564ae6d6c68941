import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { cpus, release, totalmem } from "node:os";
import { join } from "node:path";
import type { ThreadOptions } from "@hsap/engine";
import { InputError } from "@hsap/workload";
import { z } from "zod";
import { hostsOf, type JobRecord, jobRecordSchema } from "../launch/job-record.ts";
import { workspacePath } from "../workspace.ts";

const environmentSchema = z.strictObject({
  /** Digest of all that decides a time: everything below up to `threads`. */
  id: z.string(),
  cpu: z.string(),
  cores: z.int(),
  memoryGiB: z.number(),
  system: z.string(),
  node: z.string(),
  /** Of the native engine; left out where nothing ran on it. */
  compiler: z.string().optional(),
  isa: z.string().optional(),
  /** Digest of the built packages and the native library that a trial runs through. */
  code: z.string(),
  /** Where ranks were processes: MPI, and how many hosts they had. */
  mpi: z.strictObject({ library: z.string(), hosts: z.int() }).optional(),
  /** What trials were told of threads, unless it was nothing. */
  threads: z
    .strictObject({
      threadsPerRank: z.int().optional(),
      maxThreads: z.int().optional(),
      pin: z.enum(["auto", "none"]).optional(),
      computeGroup: z.string().optional(),
    })
    .optional(),
  /** Where its ranks ran when this environment first wrote here. */
  job: jobRecordSchema.optional(),
  /** The commit checked out, and whether files differed from it; null where there is no git. */
  commit: z.string().nullable(),
  dirty: z.boolean().nullable(),
  /** When this environment first wrote here, ISO 8601, and with which arguments. */
  date: z.string(),
  arguments: z.array(z.string()),
});

const environmentFileSchema = z.strictObject({
  schema: z.literal("hsap-environments/1"),
  environments: z.array(environmentSchema),
});

/** The machine, the tools and the code that trials ran with. */
export type Environment = Readonly<z.infer<typeof environmentSchema>>;

export interface EnvironmentOptions {
  readonly compiler: string;
  readonly isa: string;
  readonly arguments: readonly string[];
  /** The job whose ranks run the trials. */
  readonly job?: JobRecord;
  /** What its runs are told of threads. */
  readonly threads?: ThreadOptions;
  /** Whether it runs whole training steps, which come out of further packages. */
  readonly trains?: boolean;
}

/** Describes this machine and checkout. Trials of environments with equal ids may be compared. */
export function currentEnvironment(options: EnvironmentOptions): Environment {
  const deciding = {
    ...thisMachine(),
    compiler: options.compiler,
    isa: options.isa,
    code: digestOf(measuredFiles(options.trains ? [...measuredPackages, ...trainingPackages] : measuredPackages)),
    ...(options.job && { mpi: { library: options.job.library, hosts: hostsOf(options.job) } }),
    ...(options.threads && { threads: options.threads }),
  };
  const id = createHash("sha256").update(JSON.stringify(deciding)).digest("hex").slice(0, 12);
  return {
    id,
    ...deciding,
    ...(options.job && { job: options.job }),
    ...checkout(),
    date: new Date().toISOString(),
    arguments: [...options.arguments],
  };
}

/**
 * Describes what simulated times come from. They are the same on every machine, so that the code alone decides whether two may be compared;
 * the machine is written down all the same.
 */
export function simulationEnvironment(args: readonly string[]): Environment {
  const code = digestOf(simulatedFiles());
  return {
    id: createHash("sha256").update(`simulated ${code}`).digest("hex").slice(0, 12),
    ...thisMachine(),
    code,
    ...checkout(),
    date: new Date().toISOString(),
    arguments: [...args],
  };
}

/**
 * The environments recorded in a results folder's `environment.json`; none where there is no such file.
 *
 * @throws InputError if the file holds anything else.
 */
export function readEnvironments(file: string): readonly Environment[] {
  if (!existsSync(file)) return [];
  let value: unknown;
  try {
    value = JSON.parse(readFileSync(file, "utf8"));
  } catch {
    throw new InputError(`invalid JSON: ${file} (remove it, or choose another results folder)`);
  }
  const parsed = environmentFileSchema.safeParse(value);
  if (!parsed.success) {
    const [{ path, message }] = parsed.error.issues;
    throw new InputError(`invalid environment file: ${file} at ${path.join(".")} (${message})`);
  }
  return parsed.data.environments;
}

/** Adds the environment to the file unless one of the same id is there. The file is replaced in one step. */
export function recordEnvironment(file: string, environment: Environment): void {
  const known = readEnvironments(file);
  if (known.some(({ id }) => id === environment.id)) return;
  const content = { schema: "hsap-environments/1", environments: [...known, environment] };
  writeFileSync(`${file}.new`, `${JSON.stringify(content, null, 2)}\n`);
  renameSync(`${file}.new`, file);
}

/** In the order in which an environment's id is computed from it. */
function thisMachine(): Pick<Environment, "cpu" | "cores" | "memoryGiB" | "system" | "node"> {
  const processors = cpus();
  return {
    cpu: processors[0]?.model.trim() ?? "unknown",
    cores: processors.length,
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    system: `${process.platform} ${release()} ${process.arch}`,
    node: process.version,
  };
}

/** The packages whose code runs inside a trial. Tables and figures may change without making trials incomparable. */
const measuredPackages = ["workload", "cluster", "schedule", "baselines", "compiler", "engine"];

/** The packages whose code runs inside a training step, too. */
const trainingPackages = ["model", "training"];

const measuredFiles = (packages: readonly string[]): string[] => [
  ...packages.flatMap((name) => filesBelow(workspacePath(`packages/${name}/dist`), ".js")),
  ...filesBelow(workspacePath("native/build"), ".node"),
];

/** The packages that a simulated time comes out of. */
const simulatedPackages = [
  "workload",
  "cluster",
  "schedule",
  "model",
  "baselines",
  "compiler",
  "simulator",
  "training",
];

const simulatedFiles = (): string[] => [
  ...simulatedPackages.flatMap((name) => filesBelow(workspacePath(`packages/${name}/dist`), ".js")),
  ...filesBelow(workspacePath("packages/bench/dist/model"), ".js"),
  ...filesBelow(workspacePath("packages/simulator/hardware"), ""),
];

function digestOf(files: readonly string[]): string {
  const hash = createHash("sha256");
  for (const file of [...files].sort()) hash.update(readFileSync(file));
  return hash.digest("hex").slice(0, 16);
}

function filesBelow(folder: string, ending: string): string[] {
  if (!existsSync(folder)) return [];
  const entries = readdirSync(folder, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => entry.isFile() && entry.name.endsWith(ending))
    .map((entry) => join(entry.parentPath, entry.name));
}

function checkout(): Pick<Environment, "commit" | "dirty"> {
  const status = git("status", "--porcelain");
  return { commit: git("rev-parse", "HEAD"), dirty: status === null ? null : status !== "" };
}

function git(...args: string[]): string | null {
  try {
    return execFileSync("git", args, {
      cwd: workspacePath(""),
      encoding: "utf8",
      stdio: ["ignore", "pipe", "ignore"],
    }).trim();
  } catch {
    return null;
  }
}
