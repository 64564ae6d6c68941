import { fileURLToPath } from "node:url";
import { readEnvironments, readLossRuns, readModelTrials, readTrials } from "@hsap/bench";
import { describe, expect, it } from "vitest";
import { lossNumbersOf, modelNumbersOf } from "../../paper/model-numbers.mjs";
import { numbersOf } from "../../paper/numbers.mjs";

const results = fileURLToPath(new URL("../../results/reference/evaluation", import.meta.url));

describe("the paper's numbers", () => {
  it("come from the reference trials, within the bounds of error", () => {
    const { trials } = readTrials(`${results}/trials.jsonl`);
    const numbers = numbersOf(trials, readEnvironments(`${results}/environment.json`), "ring");
    expect(numbers.trials).toEqual({ all: trials.length, right: trials.length, sameBits: trials.length });
    expect(numbers.error.forward.bound).toBe(1e-6);
    expect(numbers.error.backward.bound).toBe(3e-6);
    for (const { worst, bound } of Object.values(numbers.error)) expect(worst).toBeLessThanOrEqual(bound);
    expect(numbers.environment).not.toBeNull();
    expect(new Set(numbers.comparison.map(({ mix }) => mix))).toEqual(new Set(numbers.setting.mixes));
  });
});

describe("the paper's numbers of whole models", () => {
  const runsOf = (name) => fileURLToPath(new URL(`../../results/reference/${name}/trials.jsonl`, import.meta.url));

  it("count every step once, and compare hsap with each other strategy where both fit", () => {
    const numbers = modelNumbersOf(readModelTrials(runsOf("models")).trials);
    const { outcomes, againstHsap, steps } = numbers;
    const counted = Object.values(outcomes).flatMap(({ fits, outOfMemory, refused }) => [fits, outOfMemory, refused]);
    expect(counted.reduce((sum, count) => sum + count, 0)).toBe(steps);
    expect(Object.keys(againstHsap).sort()).toEqual(
      Object.keys(outcomes)
        .filter((name) => name !== "hsap")
        .sort(),
    );
    for (const [name, { cells, alone, low, median, high }] of Object.entries(againstHsap)) {
      expect(cells + alone, name).toBe(outcomes.hsap.fits);
      expect(low <= median && median <= high, name).toBe(true);
    }
  });

  it("tell training runs that keep document borders from those that do not", () => {
    const { inside, across } = lossNumbersOf(readLossRuns(runsOf("contamination")).trials);
    expect(inside.names).toContain("hsap");
    expect(across.names).toContain("ring as published");
    expect(inside.farthest).toBeLessThan(1e-5);
    expect(across.farthest).toBeGreaterThan(1e-3);
  });

  it("are none where there are no trials", () => {
    expect([modelNumbersOf([]), lossNumbersOf([])]).toEqual([null, null]);
  });
});
