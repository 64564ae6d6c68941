import { ring } from "@hsap/baselines";
import { clusterOf } from "@hsap/cluster";
import type { Problem, Strategy } from "@hsap/schedule";
import { InputError, packedBatch } from "@hsap/workload";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { strategies, strategyNamed } from "../src/strategies.ts";
import { faultOf, verifyStrategies } from "../src/verification/verification-suite.ts";
import type { CaseResult } from "../src/verification/verified-case.ts";

const problemOf = (lengths: readonly number[], ranks: number): Problem => ({
  batch: packedBatch(lengths),
  shape: { heads: 4, kvHeads: 2, headDim: 64, dtype: "fp32" },
  cluster: clusterOf({ ranks, ranksPerNode: 2 }),
  mask: "causal",
  pass: "forward",
});
const verifyOn = (chosen: readonly Strategy[], lengths: readonly number[], ranks: number) =>
  verifyStrategies({
    strategies: chosen,
    size: "quick",
    cases: [{ name: "given", problem: problemOf(lengths, ranks) }],
  });

describe("the verification suite", () => {
  test("finds every strategy right on a small pack, with each choice of degrees", async () => {
    const { rows, refusals, wrong, runs } = await verifyOn(strategies, [11, 1, 20, 5], 4);
    expect(rows.filter(({ verdict }) => verdict !== "ok")).toEqual([]);
    expect(wrong).toBe(0);
    expect(runs).toBeGreaterThan(6 * rows.length - 1);
    const seen = new Set([...rows, ...refusals].map(({ strategy }) => strategy));
    expect(seen).toEqual(new Set(strategies.map(({ name }) => name)));
    expect(rows.filter(({ strategy }) => strategy === "hsap").length).toBeGreaterThan(1);
    for (const { errors } of rows) expect(Object.keys(errors).sort()).toEqual(["dk", "dq", "dv", "lse", "o"]);
  });

  test("finds any strategy right on packs of any documents, ranks and heads, or hears why it refuses", async () => {
    const cases = fc.record({
      strategy: fc.constantFrom(...strategies),
      lengths: fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 8 }),
      ranks: fc.integer({ min: 1, max: 12 }),
      ranksPerNode: fc.integer({ min: 1, max: 12 }),
      kvHeads: fc.integer({ min: 1, max: 6 }),
      groupSize: fc.integer({ min: 1, max: 4 }),
      headDim: fc.constantFrom(64, 80, 128),
      mask: fc.constantFrom("causal" as const, "full" as const),
    });
    await fc.assert(
      fc.asyncProperty(cases, async ({ strategy, lengths, ranks, ranksPerNode, kvHeads, groupSize, headDim, mask }) => {
        const problem: Problem = {
          batch: packedBatch(lengths),
          shape: { heads: kvHeads * groupSize, kvHeads, headDim, dtype: "fp32" },
          cluster: clusterOf({ ranks, ranksPerNode }),
          mask,
          pass: "forward",
        };
        const { rows, refusals } = await verifyStrategies({
          strategies: [strategy],
          size: "quick",
          cases: [{ name: "drawn", problem }],
        });
        expect(rows.map(({ verdict }) => verdict)).toEqual(rows.map(() => "ok"));
        expect(rows.length + refusals.length).toBeGreaterThan(0);
      }),
      { numRuns: 40 },
    );
  });

  test("calls a strategy wrong that ignores the documents' borders, and names the rule", async () => {
    const careless: Strategy = {
      ...ring,
      name: "careless",
      compile: (problem, degrees) => {
        const joined = ring.compile({ ...problem, batch: packedBatch([36]) }, degrees);
        return { ...joined, problem };
      },
    };
    const { rows, wrong } = await verifyOn([careless], [11, 20, 5], 2);
    expect(wrong).toBe(1);
    expect(rows[0].verdict).toMatch(/^WRONG: contamination: .*; [1-9]\d* contaminated pairs when run \(given\)$/);
    expect(rows[0].contaminatedPairs).toBeGreaterThan(0);
    expect(rows[0].errors.o).toBeGreaterThan(0.01);
  });

  test("shows that published rings contaminate a pack, and that padding does not", async () => {
    const faithful = (name: string) =>
      verifyStrategies({
        strategies: [strategyNamed(name)],
        size: "quick",
        cases: [{ name: "given", problem: problemOf([11, 20, 5], 2) }],
        faithful: true,
      });
    for (const name of ["ring", "zigzag", "striped"]) {
      const { rows, wrong } = await faithful(name);
      expect(wrong).toBe(1);
      expect(rows[0].contaminatedPairs).toBeGreaterThan(0);
    }
    for (const name of ["zigzag-per-document", "ulysses"]) expect((await faithful(name)).rows[0].verdict).toBe("ok");
  });

  test("calls a strategy wrong that throws anything but a refusal", async () => {
    const broken: Strategy = {
      ...ring,
      compile: () => {
        throw new Error("out of ideas");
      },
    };
    expect((await verifyOn([broken], [5], 2)).rows[0].verdict).toBe("WRONG: out of ideas (given)");
  });

  test("lists a refusal with its reason instead of leaving it out", async () => {
    const picky: Strategy = {
      ...ring,
      candidateDegrees: () => [],
      compile: () => {
        throw new InputError("invalid ranks: 2 (picky likes 3)");
      },
    };
    const { rows, refusals } = await verifyOn([picky], [5], 2);
    expect(rows).toEqual([]);
    expect(refusals).toEqual([{ strategy: "ring", ranks: 2, reason: "invalid ranks: 2 (picky likes 3)", cases: 1 }]);
  });

  test("stops when it is told to", async () => {
    const stopped = verifyStrategies({ strategies, size: "quick", signal: AbortSignal.abort() });
    await expect(stopped).rejects.toThrow(/abort/);
  });
});

describe("a case is wrong", () => {
  const right: CaseResult = {
    dtype: "fp32",
    errors: { o: 1e-6, lse: 1e-6, dq: 3e-6, dk: 3e-6, dv: 3e-6 },
    findings: [],
    contaminatedPairs: 0,
    blindProbes: 0,
    unstablePasses: 0,
    runs: 8,
  };

  test("not at the bounds themselves", () => {
    expect(faultOf(right)).toBeUndefined();
  });

  test.each([
    ["above a forward bound", { errors: { ...right.errors, lse: 1.1e-6 } }, "error of lse is 1.1e-6"],
    ["above a backward bound", { errors: { ...right.errors, dk: 3.2e-6 } }, "error of dk is 3.2e-6"],
    ["with an error that is no number", { errors: { ...right.errors, o: Number.NaN } }, "error of o is NaN"],
    ["with a contaminated pair", { contaminatedPairs: 2 }, "2 contaminated pairs"],
    ["with a probe that shows nothing", { blindProbes: 1 }, "perturbing a document did not change its own outputs"],
    ["with other bits the second time", { unstablePasses: 1 }, "the same schedule gave other bits"],
  ])("%s", (_, change, fault) => {
    expect(faultOf({ ...right, ...change })).toBe(fault);
  });
});
