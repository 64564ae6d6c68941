import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { hostname } from "node:os";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";

/** Set for ranks whose standard input ends when the process that launched them does. */
export const lifelineVariable = "HSAP_LIFELINE";

/** Ends this process as a SIGTERM would when the one that launched it is gone, if it said that it can be seen so. */
export function endWithLauncher(environment: Readonly<Record<string, string | undefined>>): void {
  if (environment[lifelineVariable] !== "stdin") return;
  process.stdin.once("end", () => process.kill(process.pid, "SIGTERM"));
  process.stdin.resume();
  (process.stdin as { unref?: () => void }).unref?.();
}

export interface LaunchedJobOptions {
  /** Ends the job. */
  readonly signal?: AbortSignal | undefined;
  /** What the ranks write, line by line, but for what the launcher says. */
  readonly onOut: (line: string) => void;
  readonly onErr: (line: string) => void;
  /** What the first rank says of its results when it is interrupted. */
  readonly onKept?: (text: string) => void;
  /** Shows what the launcher says, too. */
  readonly verbose?: boolean;
  /** How long a job that is asked to end may take before it is killed; 10 s if left out. */
  readonly graceMs?: number;
}

/** A job that its launcher could not bring to a good end. The message names rank and host where they are known. */
export class JobFailed extends Error {
  override readonly name = "JobFailed";
}

/**
 * Runs a launcher's command to its end. The first line `hsap: ...` of a rank that failed, or else what the launcher says of a rank
 * that died, is the job's error; lines after it are consequences and not shown.
 *
 * @throws JobFailed if the job fails.
 * @throws the signal's reason if it is aborted: all ranks are ended then.
 */
export async function runLaunched(command: readonly string[], options: LaunchedJobOptions): Promise<void> {
  const { signal, onOut, onErr, verbose = false, graceMs = 10_000 } = options;
  signal?.throwIfAborted();
  // In a session of its own a Ctrl-C reaches it through us alone, once, and what it starts can be told by it.
  const child = spawn(command[0], command.slice(1), {
    stdio: ["pipe", "pipe", "pipe"],
    detached: true,
    env: { ...process.env, [lifelineVariable]: "stdin" },
  });
  // Nothing is ever written: its end tells rank 0 that this process is no more.
  child.stdin?.on("error", () => undefined);
  const report = new JobReport();
  const ended = once(child, "exit") as Promise<[number | null, NodeJS.Signals | null]>;
  const closed = once(child, "close");
  for (const promise of [ended, closed]) promise.catch(() => undefined);
  const stop = (): void => void endJob(child, graceMs);
  let failing: NodeJS.Timeout | undefined;
  signal?.addEventListener("abort", stop, { once: true });
  const onExit = (): void => killSession(child);
  process.once("exit", onExit);
  try {
    createInterface({ input: child.stdout as NonNullable<ChildProcess["stdout"]> }).on("line", onOut);
    createInterface({ input: child.stderr as NonNullable<ChildProcess["stderr"]> }).on("line", (line) => {
      const known = report.kept;
      const hadFailed = report.failed;
      if (!report.takes(line) || verbose) onErr(line);
      if (report.failed && !hadFailed) failing = setTimeout(stop, abortMs);
      if (report.kept !== undefined && known === undefined) options.onKept?.(report.kept);
    });
    const [exitCode, killedBy] = await ended.catch((error: Error) => {
      throw new JobFailed(`cannot start ${command[0]} (${error.message})`);
    });
    // Leftovers keep the output open, so they go before the last lines are awaited.
    await endLeftovers(child, 5000);
    await closed;
    signal?.throwIfAborted();
    if (exitCode !== 0) throw new JobFailed(report.cause(command[0], exitCode, killedBy));
  } finally {
    clearTimeout(failing);
    signal?.removeEventListener("abort", stop);
    process.off("exit", onExit);
  }
}

/**
 * So long the launcher may take to end the other ranks after one has failed; then it is asked to, and at last killed. It waits for
 * ever for a node that is cut off.
 */
const abortMs = 5000;

/** Sorts what is written on standard error into what ranks say and what their launcher says. */
export class JobReport {
  #cause: string | undefined;
  /** What the first rank said of its results because the job was ending. */
  kept: string | undefined;
  #inNotice = false;
  readonly #notices: string[] = [];

  /** Whether a rank has said that it failed. */
  get failed(): boolean {
    return this.#cause !== undefined;
  }

  /** Whether the line is the launcher's, or a consequence of the failure, so that it need not be shown. */
  takes(line: string): boolean {
    const kept = /^hsap: interrupted: (.*)$/.exec(line);
    if (kept !== null) {
      this.kept ??= kept[1];
      return true;
    }
    if (line.startsWith("hsap: ")) {
      this.#cause ??= line.slice("hsap: ".length);
      return true;
    }
    if (/^-{60,}$/.test(line)) {
      this.#inNotice = !this.#inNotice;
      return true;
    }
    if (this.#inNotice || launcherLine.test(line)) {
      if (line.trim() !== "") this.#notices.push(line.trim());
      return true;
    }
    // What follows a failure is its noise.
    return this.#cause !== undefined;
  }

  /** The failure in one line. */
  cause(launcher: string, exitCode: number | null, killedBy: NodeJS.Signals | null): string {
    const first = this.#cause ?? this.#deadRank() ?? this.#firstNotice();
    const how = killedBy === null ? `exit code ${exitCode}` : `${killedBy}`;
    const cause = first ?? `${launcher} ended with ${how}`;
    return this.kept === undefined ? cause : `${cause}; ${this.kept}`;
  }

  /** A rank that was killed, in the words of Open MPI, MPICH and Slurm. */
  #deadRank(): string | undefined {
    const text = this.#notices.join(" ");
    const openMpi = /process rank (\d+) with PID \d+ on node (\S+) exited on signal (\d+)(?: \(([^)]*)\))?/.exec(text);
    if (openMpi !== null) return killed(openMpi[1], openMpi[2], openMpi[3], openMpi[4]);
    const slurm = /error: (\S+): task (\d+): (Killed|Segmentation fault|Terminated|Aborted|Bus error)/.exec(text);
    if (slurm !== null) return `rank ${slurm[2]} on ${slurm[1]} was ended: ${slurm[3]}`;
    const openMpiExit = /Process name: \[\[\d+,\d+\],(\d+)\]\s+Exit code:\s+(\d+)/.exec(text);
    if (openMpiExit !== null) return `rank ${openMpiExit[1]} ended with exit code ${openMpiExit[2]}`;
    const mpich = /(?:PID \d+ RUNNING AT (\S+)).*EXIT CODE: (\d+)/.exec(text);
    if (mpich !== null) return `a rank on ${mpich[1]} ended with exit code ${mpich[2]}`;
    const remote = /lost communication with a remote daemon.*?Remote daemon\s*:.*?on node (\S+)/.exec(text);
    if (remote !== null) return `the launcher lost its daemon on ${remote[1]}`;
    const daemon =
      /lost (?:communication|connection) with (?:a remote daemon|.*?)[.:]?\s+.*?(?:on node|host:?)\s+(\S+)/i.exec(text);
    if (daemon !== null) return `the launcher lost its daemon on ${daemon[1]}`;
    return undefined;
  }

  #firstNotice(): string | undefined {
    // A notice's first sentence says what is wrong; further ones say what to read.
    const text = this.#notices.filter((line) => !/^(Primary job|Per user-direction)/.test(line)).join(" ");
    const sentence = /^.*?[.:!](?=\s|$)/.exec(text)?.[0] ?? text;
    return sentence === "" ? undefined : sentence;
  }
}

const launcherLine =
  /^(\[[^\]]*:\d+\]|\[(?:warn|err)\] |srun: |slurmstepd: |mpirun(\.real)?: |mpirun noticed|mpiexec|prterun|MPI_ABORT|with errorcode|Primary job|===|=\s{2,})/;

function killed(rank: string, host: string, number: string, name: string | undefined): string {
  const where = host === "localhost" ? hostname() : host;
  return `rank ${rank} on ${where} was killed by signal ${number}${name === undefined ? "" : ` (${name})`}`;
}

/** Asks the launcher to end its ranks; after the grace, kills it and every process that it started here. */
async function endJob(child: ChildProcess, graceMs: number): Promise<void> {
  child.kill("SIGTERM");
  const ended = child.exitCode !== null || child.signalCode !== null ? Promise.resolve() : once(child, "exit");
  if ((await Promise.race([sleep(graceMs, "late", { ref: false }), ended])) === "late") killSession(child);
}

/** Waits until the launcher's ranks on this machine have ended, and kills those that outlive it by the grace. */
async function endLeftovers(child: ChildProcess, graceMs: number): Promise<void> {
  for (const end = Date.now() + graceMs; Date.now() < end && sessionOf(child).length > 0; ) await sleep(20);
  killSession(child);
}

function killSession(child: ChildProcess): void {
  for (const pid of sessionOf(child)) {
    try {
      process.kill(pid, "SIGKILL");
    } catch {
      // It has ended.
    }
  }
}

/** The launcher and what it started on this machine, as far as they live; none where the system has no /proc. */
function sessionOf({ pid }: ChildProcess): number[] {
  if (pid === undefined || !existsSync("/proc/self/stat")) return [];
  const numbers = readdirSync("/proc").filter((name) => /^\d+$/.test(name));
  return numbers.map(Number).filter((candidate) => {
    try {
      const stat = readFileSync(`/proc/${candidate}/stat`, "utf8");
      // After the command's name in parentheses: state, parent, group, session (proc(5)).
      const [state, , , session] = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
      return Number(session) === pid && state !== "Z" && state !== "X";
    } catch {
      return false;
    }
  });
}
