import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { parseLossExperiment, readLossExperiment } from "../src/training-losses/loss-experiment.ts";
import { type LossRun, lossRunName, readLossRuns } from "../src/training-losses/loss-run.ts";
import { type LossesResult, runLosses } from "../src/training-losses/run-losses.ts";

const text = `
title: Losses
claim: They differ where tokens attend across borders.
baseline: reference
kind: training losses
sweep:
  model: tiny
  mixes: [instruct]
  tokens: 256
  seeds: [1]
  ranks: 2
  ranksPerNode: 2
  steps: 3
  strategies: [{ strategy: reference }, { strategy: hsap }, { strategy: ring, faithful: true }]
profiles:
  smoke: {}
`;
const parse = (of = text) => parseLossExperiment(of, { name: "losses", profile: "smoke", file: "losses.yaml" });

describe("the file of a losses experiment", () => {
  test.each([
    ["an unknown model", text.replace("tiny", "huge"), 'invalid sweep.model: "huge"'],
    ["another kind", text.replace("training losses", "measured trials"), 'invalid kind: "measured trials"'],
    ["a value that neither part gives", text.replace("  steps: 3\n", ""), "missing steps"],
  ])("is refused with %s, in one line", (_, of, message) => {
    expect(() => parse(of)).toThrow(message);
    expect(() => parse(of)).toThrow(/^[^\n]*$/);
  });

  test.each(["smoke", "short", "full"])("of this project has a valid profile %s, with its baseline", (profile) => {
    const { sweep, baseline } = readLossExperiment("contamination", profile);
    expect(sweep.strategies.map(({ strategy }) => strategy)).toContain(baseline);
  });
});

describe("training losses", () => {
  let folder: string;
  let result: LossesResult;
  let notes: string[];
  const train = (of = text, signal?: AbortSignal) =>
    runLosses(parse(of), { folder, arguments: ["a test"], signal, onNote: (note) => notes.push(note) });
  const runOf = (name: string) => result.runs.find((run) => lossRunName(run) === name) as LossRun;

  beforeAll(async () => {
    notes = [];
    folder = mkdtempSync(join(tmpdir(), "hsap-losses-"));
    result = await train();
  }, 120_000);

  afterAll(() => rmSync(folder, { recursive: true }));

  test("are one for each step, and the same for all that keep borders, from the same weights on the same text", () => {
    expect(result.runs.map(({ losses }) => losses.length)).toEqual([3, 3, 3]);
    const [reference, hsap] = [runOf("reference"), runOf("hsap")];
    for (const [i, loss] of reference.losses.entries()) expect(Math.abs(hsap.losses[i] - loss)).toBeLessThan(1e-5);
  });

  test("are others from the first step on where tokens attend across borders", () => {
    const [reference, ring] = [runOf("reference"), runOf("ring as published")];
    for (const [i, loss] of reference.losses.entries()) expect(Math.abs(ring.losses[i] - loss)).toBeGreaterThan(1e-4);
  });

  test("are kept, and not trained again", async () => {
    const file = join(folder, "trials.jsonl");
    expect(readLossRuns(file).trials).toEqual(result.runs);
    const before = readFileSync(file);
    const again = await train();
    expect([again.trainedNow, again.runs]).toEqual([0, result.runs]);
    expect(readFileSync(file).equals(before)).toBe(true);
    expect(notes).toEqual(["resumed: 3 of 3 runs are already there"]);
  });

  test("of finished runs are kept when it is interrupted", async () => {
    const longer = text.replace("steps: 3", "steps: 4");
    await expect(train(longer, AbortSignal.abort())).rejects.toThrow(/abort/);
    expect(readLossRuns(join(folder, "trials.jsonl")).trials).toHaveLength(3);
  });

  test("are refused of a strategy that does by default what was published", async () => {
    await expect(train(text.replace("{ strategy: hsap }", "{ strategy: hsap, faithful: true }"))).rejects.toThrow(
      "invalid faithful: hsap (does by default what was published)",
    );
  });
});
