import { existsSync, mkdtempSync, readFileSync, rmSync, truncateSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { TestCluster, whyNoExperiments } from "./experiment-on-cluster.mjs";

const lacking = whyNoExperiments({ slurm: false });
const cluster = new TestCluster(`f${process.pid}`);

// A rank that hears nothing for so long ends the job.
const timeoutS = 4;
const repeats = 100;
const trials = 2 * repeats;
const goesOn = "the same command goes on from there";

// The faults come one after another upon one experiment: the run that one of them ends is what the next goes on from.
let results;

beforeAll(async () => {
  if (lacking.length > 0) return;
  results = newFolder();
  await cluster.up("--device-share", "none");
}, 60_000);
afterAll(() => {
  if (lacking.length > 0) return;
  cluster.down();
  rmSync(results, { recursive: true });
}, 60_000);
beforeEach(({ skip }) => {
  if (lacking.length > 0) skip(lacking.join("; "));
});

describe("an experiment on 2 nodes of 4 ranks, each time from where the last run ended,", { timeout: 120_000 }, () => {
  // Rank 0 holds the lock of the folder: what it leaves must not be in the way of the next run.
  it.for([5, 0])("ends in one line that names rank and host when rank %i is killed", async (rank) => {
    const { ended, kept } = await underWay();
    process.kill(await cluster.rankProcess(rank), "SIGKILL");
    await expectFailure(
      await ended,
      kept,
      `rank ${rank} on ${cluster.hostOf(rank)} was killed by signal 9 \\(Killed\\)`,
    );
    expect(existsSync(path.join(results, "run.lock"))).toBe(rank === 0);
  });

  it("ends in one line that names rank and host when a rank stalls", async () => {
    const { ended, kept } = await underWay();
    process.kill(await cluster.rankProcess(6), "SIGSTOP");
    const heard = `for ${timeoutS} s by rank [57] on ${cluster.hostOf(6)} \\(it has stalled or ended, .*\\)`;
    await expectFailure(await ended, kept, `rank 6 on ${cluster.hostOf(6)} was not heard of ${heard}`);
  });

  it("ends in one line that names rank and host when a node's link is cut for good, at the default timeout", async () => {
    const { ended, kept } = await underWay({});
    cluster.command("link", "node1", "down");
    try {
      const [here, there] = [0, 4].map((rank) => cluster.hostOf(rank));
      const sides = [
        `rank [03] on ${here} was not heard of for 12 s by rank [47] on ${there}`,
        `rank [47] on ${there} was not heard of for 12 s by rank [03] on ${here}`,
      ];
      await expectFailure(await ended, kept, `(${sides.join("|")}) \\(.*\\)`);
    } finally {
      cluster.command("link", "node1", "up");
    }
  });

  it.for(["SIGINT", "SIGTERM"])("ends cleanly on %s", async (signal) => {
    const { child, ended, kept } = await underWay({ HSAP_MPI_TIMEOUT_S: `${2 * timeoutS}` });
    child.kill(signal);
    const { exitCode, out, err } = await ended;
    expect(errorsIn(err)).toEqual([
      expect.stringMatching(`^hsap: interrupted: \\d+ of ${trials} trials are kept in ${results}; ${goesOn}$`),
    ]);
    expect([exitCode, out]).toEqual([130, ""]);
    expect(existsSync(path.join(results, "run.lock"))).toBe(false);
    await expectWhole(kept);
  });

  it("goes on by itself when a node's link is cut for five seconds, and comes to its end, though a line had been cut off", async () => {
    if (linesOf(results).length === 0) await interruptOne();
    truncateSync(trialFile(results), readFileSync(trialFile(results)).length - 300);
    const { ended, kept } = await underWay({});
    cluster.command("link", "node1", "down");
    await sleep(5000);
    const before = linesOf(results).length;
    cluster.command("link", "node1", "up");
    expect(before).toBeLessThan(trials);
    const { exitCode, out, err } = await ended;
    expect(errorsIn(err)).toEqual([]);
    expect(exitCode).toBe(0);
    expect(err).toContain(`left out: line ${kept.length} of ${trialFile(results)} was cut off`);
    expect(out).toContain(`# ${trials} trials (`);
    expect(out).toMatch(/, verdict: ok\n$/);
    expect(await cluster.leftovers(10_000)).toEqual([]);
  });
});

describe("results of an experiment on 2 nodes", { timeout: 120_000 }, () => {
  it("stay whole when their disk is full, in one line; with room the same command goes on", async () => {
    const folder = newFolder();
    // Rank 0 alone writes, and node0 has mounts of its own: nothing else sees this disk.
    const onDisk = () => cluster.enter("node0", "cat", trialFile(folder)).stdout;
    cluster.enter("node0", "mount", "-t", "tmpfs", "-o", "size=32k", "tmpfs", folder);
    try {
      const full = await start(folder, 20).ended;
      expect(errorsIn(full.err)).toEqual([
        expect.stringMatching(
          `^hsap: rank 0 on ${cluster.hostOf(0)}: cannot write ${trialFile(folder)} \\(ENOSPC: .*\\); \\d+ of 40 trials are kept in ${folder}; ${goesOn}$`,
        ),
      ]);
      expect([full.exitCode, full.out]).toEqual([1, ""]);
      expect(await cluster.leftovers(10_000)).toEqual([]);
      const kept = onDisk();
      expect(kept.endsWith("\n")).toBe(true);
      const count = kept.trim().split("\n").map(JSON.parse).length;
      expect(count).toBeGreaterThan(5);
      cluster.enter("node0", "mount", "-o", "remount,size=4m", folder);
      const { exitCode, out, err } = await start(folder, 20).ended;
      expect(err).toContain(`resumed: ${count} of 40 trials are already there`);
      expect([errorsIn(err), exitCode]).toEqual([[], 0]);
      expect(out).toMatch(/, verdict: ok\n$/);
      expect(onDisk().startsWith(kept)).toBe(true);
    } finally {
      cluster.enter("node0", "umount", folder);
      rmSync(folder, { recursive: true });
    }
  });

  it("are refused to a second one in one line, while the first goes on", async () => {
    const folder = newFolder();
    const first = start(folder, 2000);
    await untilTrials(folder, 1);
    const second = await start(folder, 2000).ended;
    expect(errorsIn(second.err)).toEqual([
      expect.stringMatching(`^hsap: results in use: ${folder} \\(process \\d+ .*writes there since .*\\)$`),
    ]);
    // As where ranks are threads.
    expect([second.exitCode, second.out]).toEqual([2, ""]);
    await untilTrials(folder, linesOf(folder).length + 1);
    first.child.kill("SIGTERM");
    expect((await first.ended).exitCode).toBe(130);
    rmSync(folder, { recursive: true });
  });
});

function start(folder, repeats, variables = { HSAP_MPI_TIMEOUT_S: `${timeoutS}` }) {
  const measured = "experiment evaluation --profile smoke --docs 400,70,10,33 --strategy ring --no-figures".split(" ");
  const launched = "--launcher mpirun --nodes 2 --ranks-per-node 4".split(" ");
  return cluster.hsap([...measured, "--repeats", `${repeats}`, ...launched, "--results", folder], variables);
}

/** An experiment that goes on from what is there, and has measured some more. */
async function underWay(variables) {
  const kept = linesOf(results);
  const run = start(results, repeats, variables);
  await untilTrials(results, kept.length + 5);
  return { ...run, kept };
}

async function interruptOne() {
  const { child, ended } = await underWay();
  child.kill("SIGTERM");
  await ended;
}

/** That a run ended by a failure in one line, with nothing left behind but whole trials. */
async function expectFailure({ exitCode, out, err }, kept, cause) {
  expect(errorsIn(err)).toEqual([
    expect.stringMatching(`^hsap: ${cause}; (\\d+ of ${trials}|finished) trials are kept in ${results}; ${goesOn}$`),
  ]);
  expect([exitCode, out]).toEqual([1, ""]);
  expect(err).toContain(kept.length > 0 ? `resumed: ${kept.length} of ${trials} trials are already there` : "");
  await expectWhole(kept);
}

async function expectWhole(kept) {
  // A daemon on a node that is cut off notices by itself.
  expect(await cluster.leftovers(30_000)).toEqual([]);
  const lines = linesOf(results);
  expect(lines.slice(0, kept.length)).toEqual(kept);
  expect(lines.map((line) => JSON.parse(line).schema)).toEqual(lines.map(() => "hsap-trial/1"));
  expect(lines.length).toBeLessThan(trials);
}

const newFolder = () => mkdtempSync(path.join(os.tmpdir(), "hsap-faults-"));
const trialFile = (folder) => path.join(folder, "trials.jsonl");

/** What is neither progress nor a note. */
const errorsIn = (err) =>
  err.split("\n").filter((line) => line !== "" && !/^ *\d+ % \||^(resumed|left out|note): /.test(line));

const linesOf = (folder) =>
  existsSync(trialFile(folder)) ? readFileSync(trialFile(folder), "utf8").split("\n").filter(Boolean) : [];

async function untilTrials(folder, count) {
  for (const end = Date.now() + 40_000; linesOf(folder).length < count; await sleep(20)) {
    if (Date.now() > end) throw new Error(`${count} trials did not come`);
  }
}
