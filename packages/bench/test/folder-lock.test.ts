import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { lockFolder } from "../src/results/folder-lock.ts";
import { thisProcess } from "../src/results/process-life.ts";

let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "hsap-lock-"));
});

afterEach(() => rmSync(folder, { recursive: true }));

/** As another holder would leave its lock, last renewed so many seconds ago. */
function holdAs(holder: object, silentS = 0): void {
  writeFileSync(file(), JSON.stringify({ ...thisProcess(), since, ...holder }));
  const renewed = Date.now() / 1000 - silentS;
  utimesSync(file(), renewed, renewed);
}
const file = () => join(folder, "run.lock");
const since = "2026-01-02T03:04:05.000Z";
/** Its process cannot be seen from here. */
const elsewhere = { pid: 1, host: "elsewhere", kernel: "another boot" };

describe("lockFolder", () => {
  test("refuses a second run while the first holds the folder, in one line", () => {
    const lock = lockFolder(folder);
    expect(() => lockFolder(folder)).toThrow(
      new RegExp(`^results in use: ${folder} \\(process ${process.pid} writes there since [^\n]*\\)$`),
    );
    lock.release();
    lockFolder(folder).release();
    expect(readdirSync(folder)).toEqual([]);
  });

  test("takes over the lock of a process that was killed, at once", async () => {
    const child = await sleeper();
    holdAs({ pid: child.pid, started: null });
    child.kill("SIGKILL");
    await once(child, "exit");
    lockFolder(folder).release();
    expect(readdirSync(folder)).toEqual([]);
  });

  test("takes over where the process number now belongs to another process", () => {
    holdAs({ pid: process.ppid, started: "1" });
    lockFolder(folder).release();
  });

  test("sees the life of a process on the same machine under another host name", () => {
    holdAs({ host: "node1" }, 1000);
    expect(() => lockFolder(folder)).toThrow("results in use");
    holdAs({ host: "node1", started: "1" });
    lockFolder(folder).release();
  });

  test.each([
    ["on another machine", elsewhere],
    ["on a machine of the same name", { ...elsewhere, host: thisProcess().host }],
    ["that an earlier version of this project wrote", { ...elsewhere, kernel: undefined }],
  ])("refuses a lock %s that is renewed, and takes over one that has not been for a minute", (_, holder) => {
    holdAs(holder, 50);
    expect(() => lockFolder(folder)).toThrow(
      /^results in use: .* \(process 1 on \S+ writes there since 2026-01-02T03:04:05.000Z, last (49|5[0-9]) s ago, and counts as gone after 60 s; wait for it, or name another folder\)$/,
    );
    holdAs(holder, 70);
    lockFolder(folder).release();
    expect(readdirSync(folder)).toEqual([]);
  });

  test("renews its lock, so that others see that it lives, and its content stays", () => {
    vi.useFakeTimers({ toFake: ["setInterval", "clearInterval"] });
    const lock = lockFolder(folder);
    const content = readFileSync(file(), "utf8");
    utimesSync(file(), 1, 1);
    vi.advanceTimersByTime(5000);
    expect(statSync(file()).mtimeMs).toBeGreaterThan(1e6);
    expect(readFileSync(file(), "utf8")).toBe(content);
    holdAs(elsewhere, 70);
    const others = statSync(file()).mtimeMs;
    vi.advanceTimersByTime(5000);
    expect(statSync(file()).mtimeMs).toBe(others);
    lock.release();
    vi.useRealTimers();
  });

  test("says before it writes that another run has taken the folder over", () => {
    const lock = lockFolder(folder);
    lock.confirm();
    holdAs(elsewhere);
    expect(() => lock.confirm()).toThrow(`lost results: ${folder} (another run has taken them over)`);
  });

  test("takes its lock again that somebody has removed", () => {
    const lock = lockFolder(folder);
    rmSync(file());
    lock.confirm();
    expect(() => lockFolder(folder)).toThrow("results in use");
    lock.release();
  });

  test("takes over a lock that is no record", () => {
    writeFileSync(join(folder, "run.lock"), "{");
    lockFolder(folder).release();
  });

  test("does not remove a lock that somebody else took meanwhile", () => {
    const lock = lockFolder(folder);
    holdAs(elsewhere);
    lock.release();
    expect(readdirSync(folder)).toEqual(["run.lock"]);
  });
});

async function sleeper(): Promise<ChildProcess> {
  const child = spawn(process.execPath, ["-e", "setInterval(() => {}, 1000)"], { stdio: "ignore" });
  await once(child, "spawn");
  return child;
}
