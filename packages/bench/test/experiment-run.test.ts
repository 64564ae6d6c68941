import { existsSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { packedBatch } from "@hsap/workload";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { parseExperiment } from "../src/experiment/experiment-file.ts";
import { type ExperimentOptions, runExperiment } from "../src/experiment/experiment-run.ts";
import { faultOfTrial } from "../src/experiment/trial-fault.ts";
import { readEnvironments } from "../src/results/environment.ts";
import { lockFolder } from "../src/results/folder-lock.ts";
import { readTrials } from "../src/results/trial-log.ts";

const small = `
title: A small experiment
claim: It ends.
baseline: ring
sweep:
  mixes: [code]
  tokens: 60
  seeds: [1]
  passes: [forward, backward]
  ranks: 4
  ranksPerNode: 2
  heads: 4
  kvHeads: 2
  headDim: 64
  dtype: fp32
  mask: causal
  strategies: [{ strategy: ring }, { strategy: hsap, degrees: all }]
  repeats: 2
profiles:
  smoke: {}
`;
const experiment = parseExperiment(small, { name: "small", profile: "smoke", file: "small.yaml" });
/** Two passes of ring and of hsap with 1 and 2 ranks to a head group, twice each. */
const allTrials = 2 * 4 * 2;

let folder: string;
let file: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "hsap-experiment-"));
  file = join(folder, "trials.jsonl");
});

afterEach(() => rmSync(folder, { recursive: true }));

const measure = (options: Partial<ExperimentOptions> = {}) =>
  runExperiment(experiment, { folder, arguments: ["a test"], ...options });
const keysWritten = () => readTrials(file).trials.map(({ key }) => key);

describe("an experiment", () => {
  test("measures every trial once, verified, with the environment beside them", async () => {
    const { trials, measuredNow, environment } = await measure();
    expect([trials.length, measuredNow, new Set(keysWritten()).size]).toEqual([allTrials, allTrials, allTrials]);
    expect(trials.map(faultOfTrial)).toEqual(trials.map(() => undefined));
    expect(readTrials(file).trials).toEqual(expect.arrayContaining(trials as never[]));
    expect(readEnvironments(join(folder, "environment.json"))).toEqual([environment]);
    for (const trial of trials) {
      expect(trial.cpuMs.computation.length).toBe(4);
      expect(Object.keys(trial.error)).toEqual(trial.problem.pass === "forward" ? ["o", "lse"] : ["dq", "dk", "dv"]);
      expect(trial.criticalPathMs).toBeGreaterThanOrEqual(trial.longestChainMs - 1e-9);
    }
  });

  test("measures nothing that is already there", async () => {
    await measure();
    const before = readFileSync(file);
    const notes: string[] = [];
    expect((await measure({ onNote: (note) => notes.push(note) })).measuredNow).toBe(0);
    expect(readFileSync(file).equals(before)).toBe(true);
    expect(notes).toEqual([`resumed: ${allTrials} of ${allTrials} trials are already there`]);
  });

  test("measures a trial anew whose line was cut off, and says so", async () => {
    await measure();
    truncateSync(file, readFileSync(file).length - 100);
    const notes: string[] = [];
    const { measuredNow, trials } = await measure({ onNote: (note) => notes.push(note) });
    expect([measuredNow, trials.length]).toEqual([1, allTrials]);
    expect(notes[0]).toBe(`left out: line ${allTrials} of ${file} was cut off by a run that was killed`);
    expect(new Set(keysWritten()).size).toBe(allTrials);
  });

  test("keeps what it has when it is interrupted, and goes on from there", async () => {
    const controller = new AbortController();
    const interrupted = measure({
      signal: controller.signal,
      onProgress: ({ trials }) => {
        if (trials === 5) controller.abort();
      },
    });
    await expect(interrupted).rejects.toThrow(/abort/);
    const kept = keysWritten();
    expect(kept.length).toBe(5);
    expect(existsSync(join(folder, "run.lock"))).toBe(false);
    const { measuredNow } = await measure();
    expect(measuredNow).toBe(allTrials - 5);
    expect(keysWritten().slice(0, 5)).toEqual(kept);
    expect(new Set(keysWritten()).size).toBe(allTrials);
  });

  test("does not mix trials of another machine or build in", async () => {
    await measure();
    writeFileSync(file, readFileSync(file, "utf8").replaceAll(/"environment":"[0-9a-f]+"/g, '"environment":"other"'));
    const notes: string[] = [];
    const { measuredNow, environment, trials } = await measure({ onNote: (note) => notes.push(note) });
    expect(measuredNow).toBe(allTrials);
    expect(new Set(trials.map((trial) => trial.environment))).toEqual(new Set([environment.id]));
    expect(notes[0]).toMatch(/^measured anew: 16 trials there come from another machine or build/);
  });

  test("refuses a folder that another run writes into, and leaves it as it is", async () => {
    await measure();
    const before = readFileSync(file);
    const lock = lockFolder(folder);
    await expect(measure()).rejects.toThrow(/^results in use: /);
    lock.release();
    expect(readFileSync(file).equals(before)).toBe(true);
  });

  test("leaves foreign files alone: a broken trial log is refused, not overwritten", async () => {
    writeFileSync(file, '{"not": "a trial"}\n');
    await expect(measure()).rejects.toThrow(/^unknown trial schema: undefined at /);
    expect(readFileSync(file, "utf8")).toBe('{"not": "a trial"}\n');
  });

  test("takes a given pack in place of its own", async () => {
    const pack = { name: "docs", seed: 3, batch: packedBatch([5, 9]) };
    const { trials } = await measure({ pack });
    expect(new Set(trials.map(({ problem }) => `${problem.mix} ${problem.tokens}`))).toEqual(new Set(["docs 14"]));
  });
});
