import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { lockFolder } from "../src/results/folder-lock.ts";

let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "hsap-lock-"));
});

afterEach(() => rmSync(folder, { recursive: true }));

const holdAs = (holder: object) => writeFileSync(join(folder, "run.lock"), JSON.stringify(holder));
const since = "2026-01-02T03:04:05.000Z";

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

  test("takes over the lock of a process that was killed", async () => {
    const child = await sleeper();
    holdAs({ pid: child.pid, host: hostname(), started: null, since });
    child.kill("SIGKILL");
    await once(child, "exit");
    lockFolder(folder).release();
    expect(readdirSync(folder)).toEqual([]);
  });

  test("takes over where the process number now belongs to another process", () => {
    holdAs({ pid: process.ppid, host: hostname(), started: "1", since });
    lockFolder(folder).release();
  });

  test("does not judge the life of a process on another host", () => {
    holdAs({ pid: 1, host: "elsewhere", started: "1", since });
    expect(() => lockFolder(folder)).toThrow("(process 1 on elsewhere writes there");
  });

  test("takes over a lock that is no record", () => {
    writeFileSync(join(folder, "run.lock"), "{");
    lockFolder(folder).release();
  });

  test("does not remove a lock that somebody else took meanwhile", () => {
    const lock = lockFolder(folder);
    holdAs({ pid: 1, host: "elsewhere", started: "1", since });
    lock.release();
    expect(readdirSync(folder)).toEqual(["run.lock"]);
  });
});

async function sleeper(): Promise<ChildProcess> {
  const child = spawn(process.execPath, ["-e", "setInterval(() => {}, 1000)"], { stdio: "ignore" });
  await once(child, "spawn");
  return child;
}
