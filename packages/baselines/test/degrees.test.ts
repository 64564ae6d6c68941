import { InputError } from "@hsap/workload";
import { describe, expect, it } from "vitest";
import { baselines, checkedDegrees, ring } from "../src/index.ts";
import { problemOf } from "./problems.ts";

describe("checkedDegrees", () => {
  const problem = problemOf({ lengths: [8], ranks: 4 });

  it("takes degrees that multiply to the ranks, and 1 for those not given", () => {
    expect(checkedDegrees({ name: "two", degreeNames: ["inner", "outer"] }, problem, { outer: 4 })).toEqual({
      inner: 1,
      outer: 4,
    });
  });

  it.each([
    [{ ring: 3 }, "invalid degrees: ring=3 (must multiply to 4 ranks)"],
    [{}, "invalid degrees: ring=1 (must multiply to 4 ranks)"],
    [{ sap: 4 }, "unknown degree: sap (ring has ring)"],
    [{ ring: 0 }, "invalid degree: ring=0 (must be a whole number of at least 1)"],
    [{ ring: 2.5 }, "invalid degree: ring=2.5 (must be a whole number of at least 1)"],
  ])("refuses %j in one line", (degrees, message) => {
    expect(() => ring.compile(problem, degrees)).toThrow(InputError);
    expect(() => ring.compile(problem, degrees)).toThrow(message);
  });
});

describe("baselines", () => {
  it("have names of their own, a summary of one sentence and a citation", () => {
    expect(new Set(baselines.map(({ name }) => name)).size).toBe(baselines.length);
    for (const { summary, citation } of baselines) {
      expect(summary).toMatch(/^[A-Z].*\.$/);
      expect(citation).not.toBe("");
    }
  });

  it("offer default degrees among the candidates, wherever there are any", () => {
    for (const strategy of baselines) {
      for (const ranks of [1, 2, 3, 4, 6, 8, 12, 16]) {
        const some = problemOf({ lengths: [32], ranks, heads: 8, kvHeads: 2 });
        const candidates = strategy.candidateDegrees(some);
        if (candidates.length > 0) expect(candidates).toContainEqual(strategy.defaultDegrees(some));
        for (const degrees of candidates) expect(strategy.compile(some, degrees).degrees).toEqual(degrees);
      }
    }
  });

  it("compile to the same schedule twice", () => {
    for (const strategy of baselines) {
      const some = problemOf({ lengths: [3, 20, 9], ranks: 1, pass: "backward" });
      const compile = () => strategy.compile(some, strategy.defaultDegrees(some));
      expect(compile()).toEqual(compile());
    }
  });
});
