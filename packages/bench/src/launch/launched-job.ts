import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { InputError } from "@hsap/workload";
import { JobReport } from "./job-report.ts";

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
 * @throws InputError if it is the first rank that says that what was typed is wrong.
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
  const stop = (): void => void endJob(child, graceMs, /(^|\/)srun$/.test(command[0]));
  let failing: NodeJS.Timeout | undefined;
  signal?.addEventListener("abort", stop, { once: true });
  const onExit = (): void => killSession(child);
  process.once("exit", onExit);
  try {
    createInterface({ input: child.stdout as NonNullable<ChildProcess["stdout"]> }).on("line", (line) => {
      if (!report.takesFromOut(line) || verbose) onOut(line);
    });
    createInterface({ input: child.stderr as NonNullable<ChildProcess["stderr"]> }).on("line", (line) => {
      const known = report.kept;
      const hadFailed = report.failed;
      if (!report.takes(line) || verbose) onErr(line);
      if (report.failed && !hadFailed) failing = setTimeout(() => void endJob(child, 1000), abortMs);
      if (report.kept !== undefined && known === undefined) options.onKept?.(report.kept);
    });
    const [exitCode, killedBy] = await ended.catch((error: Error) => {
      throw new JobFailed(`cannot start ${command[0]} (${error.message})`);
    });
    // Leftovers keep the output open, so they go before the last lines are awaited.
    await endLeftovers(child, 5000);
    await closed;
    signal?.throwIfAborted();
    if (exitCode === 0) return;
    const cause = report.cause(command[0], exitCode, killedBy);
    throw report.invalidInput ? new InputError(cause) : new JobFailed(cause);
  } finally {
    clearTimeout(failing);
    signal?.removeEventListener("abort", stop);
    process.off("exit", onExit);
  }
}

/**
 * So long the launcher may take to end the other ranks after one has failed; then it is asked to, and after a second killed. It waits
 * for ever for a node that is cut off.
 */
const abortMs = 3000;

/**
 * Asks the launcher to end its ranks; after the grace, kills it and every process that it started here. srun passes nothing on any
 * more of what ranks say once it was signalled, so there the first rank is asked before, by the end of its standard input.
 */
async function endJob(child: ChildProcess, graceMs: number, askFirstRank = false): Promise<void> {
  const ended = child.exitCode !== null || child.signalCode !== null ? Promise.resolve() : once(child, "exit");
  const isLate = async (ms: number): Promise<boolean> =>
    (await Promise.race([sleep(ms, "late", { ref: false }), ended])) === "late";
  if (askFirstRank) {
    child.stdin?.end();
    if (!(await isLate(graceMs / 2))) return;
  }
  child.kill("SIGTERM");
  if (await isLate(graceMs)) killSession(child);
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
