import { describe, expect, test } from "vitest";
import { readExperiment } from "../src/experiment/experiment-file.ts";
import { plannedCells, type RefusedVariant } from "../src/experiment/planned-cells.ts";
import { rotated } from "../src/experiment/trial-plan.ts";
import { variantName } from "../src/trial.ts";

const smoke = readExperiment("evaluation", "smoke");

describe("the plan of an experiment", () => {
  test("begins each repeat one variant further", () => {
    expect(rotated(["a", "b", "c"], 0)).toEqual(["a", "b", "c"]);
    expect(rotated(["a", "b", "c"], 1)).toEqual(["b", "c", "a"]);
    expect(rotated(["a", "b", "c"], 5)).toEqual(["c", "a", "b"]);
  });

  test("gives every variant the same pack, and as many repeats", () => {
    for (const { trials } of plannedCells(smoke, undefined, [])) {
      expect(new Set(trials.map(({ inputs }) => inputs.problem.lengthsDigest)).size).toBe(1);
      const counts = new Map<string, number>();
      for (const { inputs } of trials) counts.set(variantName(inputs), (counts.get(variantName(inputs)) ?? 0) + 1);
      expect([...new Set(counts.values())]).toEqual([smoke.sweep.repeats]);
      expect(counts.size).toBeGreaterThan(smoke.sweep.strategies.length);
    }
  });

  test("runs a variant in the first repeats only where the experiment gives it fewer", () => {
    const [first, ...others] = smoke.sweep.strategies;
    const strategies = [{ ...first, repeats: 1 }, ...others];
    const [{ trials }] = plannedCells({ ...smoke, sweep: { ...smoke.sweep, strategies, repeats: 3 } }, undefined, []);
    const repeatsOf = (strategy: string) =>
      new Set(trials.filter(({ inputs }) => inputs.strategy === strategy).map(({ inputs }) => inputs.repeat));
    expect([...repeatsOf(first.strategy)]).toEqual([0]);
    expect([...repeatsOf(others[0].strategy)]).toEqual([0, 1, 2]);
  });

  test("names no two trials alike", () => {
    const keys = plannedCells(smoke, undefined, []).flatMap(({ trials }) => trials.map(({ key }) => key));
    expect(new Set(keys).size).toBe(keys.length);
  });

  test("leaves out what a strategy refuses, and says why", () => {
    const refused: RefusedVariant[] = [];
    const odd = { ...smoke, sweep: { ...smoke.sweep, heads: 7, kvHeads: 7 } };
    const cells = plannedCells(odd, undefined, refused);
    expect(cells[0].trials.map(({ inputs }) => inputs.strategy)).not.toContain("ulysses");
    expect(refused.map(({ strategy }) => strategy)).toContain("ulysses");
    expect(refused[0].reason).toMatch(/7/);
  });
});
