import { linkSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import { InputError } from "@hsap/workload";

/** Held by the one run that writes into a results folder. */
export interface FolderLock {
  release(): void;
}

interface Holder {
  readonly pid: number;
  readonly host: string;
  /** When the process started, in the kernel's ticks: a number used again by another process does not hold the lock. */
  readonly started: string | null;
  readonly since: string;
}

/**
 * Locks a results folder for this process. The lock of a process that has died is taken over.
 *
 * @throws InputError if another live process holds it, or one on another host, whose life cannot be seen from here.
 */
export function lockFolder(folder: string): FolderLock {
  const file = join(folder, "run.lock");
  const mine = JSON.stringify({
    pid: process.pid,
    host: hostname(),
    started: startOf(process.pid),
    since: new Date().toISOString(),
  });
  const own = `${file}.${process.pid}`;
  writeFileSync(own, mine);
  try {
    while (!linked(own, file)) removeStale(file, folder);
  } finally {
    rmSync(own, { force: true });
  }
  return {
    release: () => {
      if (contentOf(file) === mine) rmSync(file, { force: true });
    },
  };
}

/** Linking a finished file makes the lock appear whole, or not at all if there is one. */
function linked(own: string, file: string): boolean {
  try {
    linkSync(own, file);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EEXIST") return false;
    throw error;
  }
}

function removeStale(file: string, folder: string): void {
  const content = contentOf(file);
  if (content === undefined) return;
  const holder = holderOf(content);
  if (holder !== undefined && (holder.host !== hostname() || isAlive(holder))) {
    const where = holder.host === hostname() ? "" : ` on ${holder.host}`;
    throw new InputError(
      `results in use: ${folder} (process ${holder.pid}${where} writes there since ${holder.since}; wait for it, or name another folder)`,
    );
  }
  // Another process may have taken over in between: what was moved away is checked, and put back if it is not the stale one.
  const aside = `${file}.stale.${process.pid}`;
  try {
    renameSync(file, aside);
  } catch {
    return;
  }
  if (contentOf(aside) !== content) linked(aside, file);
  rmSync(aside, { force: true });
}

function contentOf(file: string): string | undefined {
  try {
    return readFileSync(file, "utf8");
  } catch {
    return undefined;
  }
}

function holderOf(content: string): Holder | undefined {
  try {
    return JSON.parse(content) as Holder;
  } catch {
    return undefined;
  }
}

function isAlive({ pid, started }: Holder): boolean {
  try {
    process.kill(pid, 0);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EPERM") return false;
  }
  return startOf(pid) === started;
}

/** Field 22 of /proc/PID/stat (proc(5)); null where the system has no /proc. */
function startOf(pid: number): string | null {
  const stat = contentOf(`/proc/${pid}/stat`);
  // The second field is the command's name in parentheses and may hold spaces.
  return stat?.slice(stat.lastIndexOf(")") + 2).split(" ")[19] ?? null;
}
