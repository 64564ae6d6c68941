import { fileURLToPath } from "node:url";
import {
  asRank,
  commandText,
  type Launch,
  type Launcher,
  type LedJob,
  launchCommand,
  launchers,
  lifelineVariable,
  mpiOptionsOf,
  mpirunKind,
  rankPlaceOf,
  runLaunched,
  splitArguments,
} from "@hsap/bench";
import { mpiLibrary } from "@hsap/engine";
import { InputError } from "@hsap/workload";
import type { Command } from "commander";
import { Interrupted } from "./interruption.ts";
import { oneOf, wholeNumber } from "./option-values.ts";
import type { CommandContext } from "./program.ts";

/** How ranks are started, as typed. */
export interface LaunchOptions {
  readonly launcher?: string;
  readonly nodes?: string;
  readonly hosts?: string;
  readonly launcherArgs?: string;
  readonly dryRun?: boolean;
}

/** Adds the options that say how ranks are started. */
export function addLaunchOptions(command: Command): Command {
  return command
    .option(
      "--launcher <name>",
      "ranks are threads (local), or processes of a job that mpirun or srun starts, or that is started already (default: local)",
    )
    .option("--nodes <n>", "physical nodes of the job; its ranks are this times --ranks-per-node")
    .option("--hosts <list>", "addresses of the nodes for mpirun, in rank order")
    .option("--launcher-args <text>", "further arguments of mpirun or srun, in quotes")
    .option("--dry-run", "print the command that starts the ranks, and end");
}

export function launcherOf({ launcher = "local" }: LaunchOptions): Launcher {
  return oneOf("launcher", launcher, launchers);
}

/**
 * The number of ranks that --nodes asks for; undefined without it.
 *
 * @throws InputError if --ranks says otherwise.
 */
export function ranksOfNodes(
  { nodes, ranks }: LaunchOptions & { readonly ranks?: string },
  ranksPerNode: number,
): number | undefined {
  if (nodes === undefined) return undefined;
  const asked = wholeNumber("nodes", nodes) * ranksPerNode;
  if (ranks !== undefined && wholeNumber("ranks", ranks) !== asked) {
    throw new InputError(`conflicting options: --ranks ${ranks} and --nodes ${nodes} of ${ranksPerNode} ranks`);
  }
  return asked;
}

/**
 * Starts this command again as `ranks` processes, and passes on what they write. `own` are the options that the ranks get besides
 * those of this command line.
 *
 * @throws InputError if the job cannot be started as asked.
 * @throws JobFailed if it fails, Interrupted if it was asked to end.
 */
export async function launchRanks(
  options: LaunchOptions,
  ranks: number,
  own: readonly string[],
  context: CommandContext,
): Promise<void> {
  const { output } = context;
  const command = [process.execPath, bin, ...withoutLaunch(context.args), ...own, "--launcher", "started"];
  if (options.dryRun) {
    output.out(`${commandText(launchLine(options, ranks, command))}\n`);
    return;
  }
  const line = launchLine(options, ranks, command, [lifelineVariable]);
  mpiLibrary();
  mpiOptionsOf(process.env);
  let kept = "interrupted";
  const controller = new AbortController();
  const stop = (): void => {
    if (controller.signal.aborted) process.exit(130);
    controller.abort(new Interrupted(kept));
  };
  process.on("SIGINT", stop);
  process.on("SIGTERM", stop);
  try {
    await runLaunched(line, {
      signal: controller.signal,
      verbose: process.env.HSAP_DEBUG !== undefined,
      onOut: (text) => output.out(`${text}\n`),
      onErr: (text) => output.err(`${text}\n`),
      onKept: (text) => {
        kept = `interrupted: ${text}`;
      },
    });
  } catch (error) {
    if (controller.signal.aborted) throw new Interrupted(kept, { cause: error });
    throw error;
  } finally {
    process.off("SIGINT", stop);
    process.off("SIGTERM", stop);
  }
}

/** How many ranks a command that runs on the ranks of a job has, and what each is told. */
export interface GivenJob {
  readonly ranks: number;
  /** Whether this process starts the ranks; otherwise it is one of them. */
  readonly launch: boolean;
  readonly own: readonly string[];
}

/**
 * The job that the options ask for; undefined where ranks are threads.
 *
 * @throws InputError if the options contradict each other.
 */
export function givenJob(
  options: LaunchOptions & { readonly ranks?: string; readonly ranksPerNode?: string },
  byDefault: { readonly ranks: number; readonly ranksPerNode: number },
): GivenJob | undefined {
  const launcher = launcherOf(options);
  checkLaunchOptions(options);
  if (launcher === "local") return undefined;
  const ranksPerNode = wholeNumber("ranks-per-node", options.ranksPerNode ?? `${byDefault.ranksPerNode}`);
  const ranks = ranksOfNodes(options, ranksPerNode) ?? wholeNumber("ranks", options.ranks ?? `${byDefault.ranks}`);
  const own = ["--ranks", `${ranks}`, "--ranks-per-node", `${ranksPerNode}`];
  return { ranks, launch: launcher !== "started", own };
}

/** @throws InputError if options of a launcher are given without one. */
export function checkLaunchOptions(options: LaunchOptions): void {
  if (launcherOf(options) !== "local") return;
  for (const [name, value] of Object.entries({
    nodes: options.nodes,
    hosts: options.hosts,
    "dry-run": options.dryRun,
  })) {
    if (value !== undefined) throw new InputError(`missing launcher: --${name} needs --launcher mpirun or srun`);
  }
}

/** Work for `interruptible` that runs here, or at rank 0 of the job that this process is a rank of; the others return undefined. */
export function onRanks<T>(
  options: LaunchOptions,
  work: (signal: AbortSignal, job?: LedJob) => Promise<T>,
): (signal: AbortSignal) => Promise<T | undefined> {
  return (signal) => (launcherOf(options) === "started" ? asRank((job) => work(signal, job), signal) : work(signal));
}

/** Whether this process is a rank that another one leads, and so has nothing to say. */
export function follows(options: LaunchOptions): boolean {
  return launcherOf(options) === "started" && rankPlaceOf(process.env)?.rank !== 0;
}

/** The command line that starts `command` on every rank, which gets all HSAP_ variables and further `variables`. */
export function launchLine(
  options: LaunchOptions,
  ranks: number,
  command: readonly string[],
  variables: readonly string[] = [],
): string[] {
  const launcher = launcherOf(options);
  if (launcher !== "mpirun" && launcher !== "srun") throw new Error(`nothing to launch: ${launcher}`);
  const { HSAP_LAUNCHER_ARGS, HSAP_RANK_WRAPPER } = process.env;
  const launch: Launch = {
    launcher,
    ranks,
    nodes: options.nodes === undefined ? undefined : wholeNumber("nodes", options.nodes),
    hosts: options.hosts?.split(",").map((host) => host.trim()),
    args: [...splitArguments(HSAP_LAUNCHER_ARGS ?? ""), ...splitArguments(options.launcherArgs ?? "")],
    wrapper: splitArguments(HSAP_RANK_WRAPPER ?? ""),
  };
  return launchCommand(launch, command, {
    mpirun: launcher === "mpirun" ? mpirunKind() : "Open MPI",
    root: process.getuid?.() === 0,
    timeoutS: mpiOptionsOf(process.env).timeoutS,
    variables: [...Object.keys(process.env).filter((name) => name.startsWith("HSAP_")), ...variables],
  });
}

const bin = fileURLToPath(new URL("../bin/hsap.js", import.meta.url));

const launchNames = ["--launcher", "--nodes", "--hosts", "--launcher-args", "--ranks", "--ranks-per-node", "--results"];

/** The arguments without those that say how ranks are started, or that the ranks are told anew. */
function withoutLaunch(args: readonly string[]): string[] {
  const kept: string[] = [];
  for (let i = 0; i < args.length; i++) {
    const [name, value] = args[i].split("=", 2);
    if (name === "--dry-run") continue;
    if (!launchNames.includes(name)) kept.push(args[i]);
    else if (value === undefined) i++;
  }
  return kept;
}
