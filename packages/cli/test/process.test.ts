import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { readTrials } from "@hsap/bench";
import { afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";

/** These tests start the command as a user does, so they need what set-up builds. */
const bin = fileURLToPath(new URL("../bin/hsap.js", import.meta.url));

let folder: string;
let trials: string;

beforeAll(() => {
  const built = fileURLToPath(new URL("../dist/main.js", import.meta.url));
  if (!existsSync(built)) throw new Error("the command is not built (run npm run setup first)");
});

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "hsap-process-"));
  trials = join(folder, "trials.jsonl");
});

afterEach(() => rmSync(folder, { recursive: true }));

interface Ended {
  readonly exitCode: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly out: string;
  readonly err: string;
}

function start(line: string): { child: ChildProcess; ended: Promise<Ended> } {
  const child = spawn(process.execPath, [bin, ...line.split(" ")], { stdio: ["ignore", "pipe", "pipe"] });
  let [out, err] = ["", ""];
  child.stdout?.on("data", (chunk) => {
    out += chunk;
  });
  child.stderr?.on("data", (chunk) => {
    err += chunk;
  });
  const ended = once(child, "close").then(([exitCode, signal]) => ({ exitCode, signal, out, err }));
  return { child, ended };
}

const experiment = (repeats: number) =>
  `experiment --profile smoke --docs 40,7,1 --strategy ring --repeats ${repeats} --no-figures --json --results ${folder}`;

async function untilLines(count: number): Promise<void> {
  while (!existsSync(trials) || readFileSync(trials, "utf8").split("\n").length <= count) await sleep(5);
}

describe("an experiment in a process of its own", () => {
  test("goes on where a killed one stopped, with every finished trial kept", async () => {
    const { child, ended } = start(experiment(100));
    await untilLines(5);
    child.kill("SIGKILL");
    expect((await ended).signal).toBe("SIGKILL");
    const kept = readTrials(trials).trials.map(({ key }) => key);
    expect(kept.length).toBeGreaterThanOrEqual(5);
    expect(kept.length).toBeLessThan(200);
    expect(existsSync(join(folder, "run.lock"))).toBe(true);

    const { exitCode, out, err } = await start(experiment(100)).ended;
    expect(exitCode).toBe(0);
    expect(err).toMatch(new RegExp(`resumed: ${kept.length} of 200 trials are already there`));
    expect(JSON.parse(out)).toMatchObject({ trials: 200, measuredNow: 200 - kept.length });
    const all = readTrials(trials).trials.map(({ key }) => key);
    expect(all.slice(0, kept.length)).toEqual(kept);
    expect(new Set(all).size).toBe(200);
  });

  test.each(["SIGINT", "SIGTERM"] as const)(
    "ends cleanly on %s: exit code 130, one line, no lock left",
    async (signal) => {
      const { child, ended } = start(experiment(2000));
      await untilLines(3);
      child.kill(signal);
      const { exitCode, out, err } = await ended;
      expect(exitCode).toBe(130);
      expect(out).toBe("");
      expect(err).toMatch(
        /hsap: interrupted: \d+ of 4000 trials are kept in [^\n]*; the same command goes on from there\n$/,
      );
      expect(existsSync(join(folder, "run.lock"))).toBe(false);
      expect(readTrials(trials).truncatedLines).toEqual([]);
    },
  );

  test("refuses a folder that a running one writes into, in one line", async () => {
    const first = start(experiment(2000));
    await untilLines(1);
    const { exitCode, out, err } = await start(experiment(2000)).ended;
    first.child.kill("SIGTERM");
    await first.ended;
    expect([exitCode, out]).toEqual([2, ""]);
    expect(err).toMatch(/^hsap: results in use: [^\n]*\n$/);
  });
});

describe("the command in a process of its own", () => {
  test("gives one line and exit code 2 for bad input", async () => {
    const { exitCode, out, err } = await start("compile --docs 4,x").ended;
    expect([exitCode, out]).toEqual([2, ""]);
    expect(err).toMatch(/^hsap: invalid length: "x" at document 1 [^\n]*\n$/);
  });

  test("ends quietly when its reader goes away", async () => {
    const { child, ended } = start("compile --text --mix code --tokens 20000 --strategy ring --ranks 16");
    child.stdout?.once("data", () => child.stdout?.destroy());
    const { err } = await ended;
    expect(err).toBe("");
  });

  test("says what the machine has", async () => {
    const { exitCode, out } = await start("doctor --json").ended;
    const report = JSON.parse(out);
    expect([exitCode, report.ok]).toEqual([0, true]);
    expect(report.findings.map(({ name }: { name: string }) => name)).toEqual(
      expect.arrayContaining(["node", "c++ compiler", "cmake", "native engine", "kernels", "mpi"]),
    );
  });
});
