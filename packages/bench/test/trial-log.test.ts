import { appendFileSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { readTrials, TrialWriter } from "../src/results/trial-log.ts";
import { trialKey } from "../src/trial.ts";
import { exampleTrial } from "./trial-example.ts";

let folder: string;
let file: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "hsap-trials-"));
  file = join(folder, "trials.jsonl");
});

afterEach(() => rmSync(folder, { recursive: true }));

const written = (...repeats: number[]) => {
  const writer = new TrialWriter(file);
  for (const repeat of repeats) writer.append(exampleTrial({ repeat }));
  writer.close();
};
const repeatsRead = () => readTrials(file).trials.map(({ repeat }) => repeat);

describe("the trial log", () => {
  test("has no trials where there is no file", () => {
    expect(readTrials(file)).toEqual({ trials: [], truncatedLines: [] });
  });

  test("gives back what was appended, over several runs", () => {
    written(0, 1);
    written(2);
    expect(readTrials(file).trials).toEqual([0, 1, 2].map((repeat) => exampleTrial({ repeat })));
  });

  test("leaves out a last line cut anywhere, and says which", () => {
    written(0, 1);
    const whole = readFileSync(file);
    const firstLine = whole.indexOf("\n") + 1;
    for (let end = firstLine + 1; end < whole.length - 1; end += 37) {
      writeFileSync(file, whole.subarray(0, end));
      expect(readTrials(file)).toEqual({ trials: [exampleTrial({ repeat: 0 })], truncatedLines: [2] });
    }
  });

  test("keeps a whole last line that lacks only its newline", () => {
    written(0, 1);
    truncateSync(file, readFileSync(file).length - 1);
    expect(repeatsRead()).toEqual([0, 1]);
  });

  test("goes on after a cut line without losing the next trial", () => {
    written(0, 1);
    truncateSync(file, readFileSync(file).length - 40);
    written(1, 2);
    expect(repeatsRead()).toEqual([0, 1, 2]);
    expect(readTrials(file).truncatedLines).toEqual([2]);
  });

  test("refuses a trial of another schema version, with its line", () => {
    written(0);
    appendFileSync(file, `${JSON.stringify({ ...exampleTrial(), schema: "hsap-trial/0" })}\n`);
    expect(() => readTrials(file)).toThrow(
      `unknown trial schema: "hsap-trial/0" at ${file} line 2 (must be hsap-trial/1)`,
    );
  });

  test("refuses a trial that lacks a field, naming it", () => {
    const { wallMs: _, ...rest } = exampleTrial();
    writeFileSync(file, `${JSON.stringify(rest)}\n`);
    expect(() => readTrials(file)).toThrow(`invalid trial: wallMs at ${file} line 1`);
  });
});

describe("trialKey", () => {
  test("does not depend on the order of fields", () => {
    const { schema: _, ...inputs } = exampleTrial();
    const reversed = Object.fromEntries(Object.entries(inputs).reverse()) as typeof inputs;
    expect(trialKey(reversed)).toBe(trialKey(inputs));
  });

  test("changes with every input", () => {
    const base = exampleTrial();
    const others = [
      exampleTrial({ repeat: 1 }),
      exampleTrial({ strategy: "zigzag" }),
      exampleTrial({ degrees: { ring: 1 } }),
      exampleTrial({ options: { shard: "balanced" } }),
      exampleTrial({ ranksPerNode: 1 }),
      exampleTrial({ problem: { ...base.problem, pass: "backward" } }),
    ];
    expect(new Set([base, ...others].map(({ key }) => key)).size).toBe(7);
  });
});
