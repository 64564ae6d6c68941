import { linkSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { startTimeOf } from "../process-start.mjs";

/**
 * Runs `work` while no other process holds the lock `file`; waits for it if one does. A lock whose process is gone, as
 * after an interrupt, is taken over, but not before the process group is gone that `work` last named by the function it is
 * given: a killed process may leave a program running that still writes. `onWait(pid)` is called once if there is somebody
 * to wait for.
 */
export async function withLock(file, work, onWait) {
  let waited = false;
  while (!acquire(file)) {
    const held = holder(file);
    if (held && !waited) onWait(held.pid);
    waited ||= Boolean(held);
    await sleep(100);
  }
  const release = () => rmSync(file, { force: true });
  process.once("exit", release);
  try {
    return await work((group) => writeWhole(file, ownEntry(group)));
  } finally {
    process.off("exit", release);
    release();
  }
}

/** Takes the lock and returns true, or returns false if a living process holds it. */
function acquire(file) {
  mkdirSync(path.dirname(file), { recursive: true });
  const own = `${file}.${process.pid}`;
  writeFileSync(own, JSON.stringify(ownEntry()));
  try {
    // A link appears with its content or not at all, so nobody ever reads a lock that is half written.
    linkSync(own, file);
    return true;
  } catch (error) {
    if (error.code !== "EEXIST") throw error;
  } finally {
    rmSync(own, { force: true });
  }
  const held = holder(file);
  if (held && !isAlive(held)) removeStale(file, held);
  return false;
}

/** Moves the lock aside first: of several processes that found it stale only one succeeds, and it checks what it moved. */
function removeStale(file, stale) {
  const aside = `${file}.stale.${process.pid}`;
  try {
    renameSync(file, aside);
  } catch (error) {
    if (error.code === "ENOENT") return;
    throw error;
  }
  const moved = holder(aside);
  if (moved && (moved.pid !== stale.pid || moved.started !== stale.started)) {
    // Somebody took the lock over in between; it is theirs and goes back.
    renameSync(aside, file);
  } else {
    rmSync(aside, { force: true });
  }
}

function ownEntry(group) {
  return { pid: process.pid, started: startTimeOf(process.pid), group };
}

function writeWhole(file, entry) {
  writeFileSync(`${file}.${process.pid}`, JSON.stringify(entry));
  renameSync(`${file}.${process.pid}`, file);
}

function holder(file) {
  try {
    return JSON.parse(readFileSync(file, "utf8"));
  } catch {
    return undefined;
  }
}

function isAlive({ pid, started, group }) {
  // Process ids are used again; one that started at another time is somebody else.
  return (exists(pid) && startTimeOf(pid) === started) || (group !== undefined && exists(-group));
}

/** Whether there is a process of that id, or with a negative id a process in that group. */
function exists(pid) {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error.code === "EPERM";
  }
}
