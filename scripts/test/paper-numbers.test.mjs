import { fileURLToPath } from "node:url";
import { readEnvironments, readTrials } from "@hsap/bench";
import { describe, expect, it } from "vitest";
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
