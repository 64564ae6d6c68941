import {
  closeSync,
  fstatSync,
  linkSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { InputError } from "@hsap/workload";
import { isAlive, type ProcessIdentity, thisProcess } from "./process-life.ts";

/** Held by the one run that writes into a results folder. */
export interface FolderLock {
  /**
   * To be called before something is written.
   *
   * @throws Error if another run has taken the folder over, as it may when this process stood still for a minute.
   */
  confirm(): void;
  release(): void;
}

interface Holder extends ProcessIdentity {
  readonly since: string;
}

/** So often a holder writes its lock again, which says that it lives to those that cannot see its process. */
const beatMs = 5000;

/** A lock that was not written for so long, by the file system's clock, is left over. */
const staleAfterS = 60;

/**
 * Locks a results folder for this process; the folder is made if missing. The lock of a process that has died is taken over: at once where it can be seen that it has
 * died, and where it ran on another machine once the lock was not renewed for a minute.
 *
 * @throws InputError if another process holds it, or the folder cannot be made.
 */
export function lockFolder(folder: string): FolderLock {
  makeFolder(folder);
  const file = join(folder, "run.lock");
  const mine = JSON.stringify({ ...thisProcess(), since: new Date().toISOString() } satisfies Holder);
  const own = `${file}.${process.pid}`;
  acquire(file, own, mine, folder);
  const timer = setInterval(() => renew(file, mine), beatMs);
  timer.unref();
  return {
    confirm: () => {
      // Somebody who doubted may have moved the lock aside for a moment, or a person removed it.
      if (contentOf(file) === undefined) acquire(file, own, mine, folder);
      if (contentOf(file) !== mine) throw new Error(`lost results: ${folder} (another run has taken them over)`);
    },
    release: () => {
      clearInterval(timer);
      if (contentOf(file) === mine) rmSync(file, { force: true });
    },
  };
}

function makeFolder(folder: string): void {
  try {
    mkdirSync(folder, { recursive: true });
  } catch (error) {
    throw new InputError(`unusable results folder: ${folder} (${(error as Error).message})`);
  }
}

function acquire(file: string, own: string, mine: string, folder: string): void {
  writeFileSync(own, mine);
  try {
    while (!linked(own, file)) removeStale(file, own, folder);
  } finally {
    rmSync(own, { force: true });
  }
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

function removeStale(file: string, own: string, folder: string): void {
  const found = lockAt(file);
  if (found === undefined) return;
  refuseUnlessStale(found, own, folder);
  // Another process may have taken over in between, or the holder renewed it: what was moved away is checked, and put back.
  const aside = `${file}.stale.${process.pid}`;
  try {
    renameSync(file, aside);
  } catch {
    return;
  }
  const moved = lockAt(aside);
  if (moved?.content !== found.content || moved.writtenMs !== found.writtenMs) linked(aside, file);
  rmSync(aside, { force: true });
}

/** @throws InputError if the holder lives, or may live. */
function refuseUnlessStale({ content, writtenMs }: FoundLock, own: string, folder: string): void {
  const holder = holderOf(content);
  if (holder === undefined) return;
  const alive = isAlive(holder);
  if (alive === false) return;
  // Both times are the file system's, so clocks of machines need not agree.
  writeFileSync(own, readFileSync(own));
  const silentS = ((lockAt(own)?.writtenMs ?? 0) - writtenMs) / 1000;
  if (alive === undefined && silentS > staleAfterS) return;
  const seen = alive ? "" : ` on ${holder.host}`;
  const hint = alive
    ? ""
    : `, last ${Math.max(0, silentS).toFixed(0)} s ago, and counts as gone after ${staleAfterS} s`;
  throw new InputError(
    `results in use: ${folder} (process ${holder.pid}${seen} writes there since ${holder.since}${hint}; wait for it, or name another folder)`,
  );
}

interface FoundLock {
  readonly content: string;
  readonly writtenMs: number;
}

/** By a file that was opened: network file systems look anew then. */
function lockAt(file: string): FoundLock | undefined {
  try {
    const descriptor = openSync(file, "r");
    try {
      return { content: readFileSync(descriptor, "utf8"), writtenMs: fstatSync(descriptor).mtimeMs };
    } finally {
      closeSync(descriptor);
    }
  } catch {
    return undefined;
  }
}

/** Writes the same again. Where that fails, the next time may not. */
function renew(file: string, mine: string): void {
  try {
    const descriptor = openSync(file, "r+");
    try {
      if (readFileSync(descriptor, "utf8") === mine) writeSync(descriptor, mine, 0);
    } finally {
      closeSync(descriptor);
    }
  } catch {
    // It was moved aside or the file system does not answer: `confirm` will see.
  }
}

const contentOf = (file: string): string | undefined => lockAt(file)?.content;

function holderOf(content: string): Holder | undefined {
  try {
    return JSON.parse(content) as Holder;
  } catch {
    return undefined;
  }
}
