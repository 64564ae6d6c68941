import {
  accountOf,
  areaOf,
  formatSchedule,
  kvBytesOf,
  type Problem,
  parseSchedule,
  publishedOptions,
  type Strategy,
  type StrategyOptions,
  verify,
} from "@hsap/schedule";
import { packedBatch, tokensOf } from "@hsap/workload";
import { describe, expect, it } from "vitest";
import { baselines, ring, striped, zigzag, zigzagPerDocument } from "../src/index.ts";
import { problemOf, receivedBytes } from "./problems.ts";

const compile = (strategy: Strategy, problem: Problem, options?: StrategyOptions) =>
  strategy.compile(problem, strategy.defaultDegrees(problem), options);
const rulesBroken = (...args: Parameters<typeof compile>) => [
  ...new Set(verify(compile(...args)).map(({ rule }) => rule)),
];

describe("what published systems do with packs", () => {
  it("is ignoring borders, padding, short stripes, fp32 gradients and gradients that go in circles", () => {
    const published = baselines.map((strategy) => [strategy.name, publishedOptions(strategy)] as const);
    expect(Object.fromEntries(published.filter(([, options]) => Object.keys(options).length > 0))).toEqual({
      ring: { ignoreBorders: true, fp32Gradients: true },
      zigzag: { ignoreBorders: true, fp32Gradients: true },
      striped: { stripe: 1, ignoreBorders: true },
      "zigzag-per-document": { pad: true, fp32Gradients: true },
      loongtrain: { outer: "first", gradients: "circles" },
    });
  });
});

describe.each([ring, zigzag, striped].map((strategy) => [strategy.name, strategy] as const))(
  "%s without borders",
  (_, strategy) => {
    const ignoreBorders = { ignoreBorders: true };

    it.each(["forward", "backward"] as const)("breaks the rule of contamination and no other, %s", (pass) => {
      for (const mask of ["causal", "full"] as const) {
        const problem = problemOf({ lengths: [9, 20, 3], ranks: 4, pass, mask });
        expect(rulesBroken(strategy, problem, ignoreBorders)).toEqual(["contamination"]);
        expect(rulesBroken(strategy, problem)).toEqual([]);
      }
    });

    it("computes every pair of one document of all tokens, and leaves the pack as it is", () => {
      const problem = problemOf({ lengths: [9, 20, 3], ranks: 4 });
      const whole = { ...problem, batch: packedBatch([tokensOf(problem.batch)]) };
      const schedule = compile(strategy, problem, ignoreBorders);
      expect(schedule.problem).toEqual(problem);
      expect(accountOf(schedule).area.total).toBe(areaOf(whole) * problem.shape.heads);
      expect({ ...schedule, problem: whole }).toEqual(compile(strategy, whole));
    });

    it("is right for a pack of one document", () => {
      expect(rulesBroken(strategy, problemOf({ lengths: [32], ranks: 4 }), ignoreBorders)).toEqual([]);
    });
  },
);

describe("zigzag without borders", () => {
  it("is balanced on a pack, as on the one document that it takes it for; with borders it is not", () => {
    const problem = problemOf({ lengths: [40, 3, 2, 19], ranks: 4 });
    expect(accountOf(compile(zigzag, problem, { ignoreBorders: true })).area.balance).toBe(1);
    expect(accountOf(compile(zigzag, problem)).area.balance).toBeGreaterThan(1.1);
  });
});

const rings = [ring, zigzag, zigzagPerDocument, striped].map((strategy) => [strategy.name, strategy] as const);

describe.each(rings)("%s with gradients in fp32", (_, strategy) => {
  const fp32Gradients = { fp32Gradients: true };
  const [ranks, lengths] = [4, [16, 48]];

  it("receives 3(P-1)/P of all keys and values backward where bf16 travels: gradients take twice the bytes", () => {
    const problem = problemOf({ lengths, ranks, pass: "backward", dtype: "bf16" });
    const received = (times: number) => Array(ranks).fill((times * (ranks - 1) * kvBytesOf(problem)) / ranks);
    expect(receivedBytes(compile(strategy, problem, fp32Gradients))).toEqual(received(3));
    expect(receivedBytes(compile(strategy, problem))).toEqual(received(2));
  });

  it("keeps every rule", () => {
    expect(rulesBroken(strategy, problemOf({ lengths: [5, 30, 1], ranks, pass: "backward" }), fp32Gradients)).toEqual(
      [],
    );
  });

  it("changes nothing forward, nor where fp32 travels anyway", () => {
    for (const problem of [
      problemOf({ lengths, ranks, dtype: "bf16" }),
      problemOf({ lengths, ranks, pass: "backward", dtype: "fp32" }),
    ]) {
      expect(compile(strategy, problem, fp32Gradients)).toEqual(compile(strategy, problem));
    }
  });

  it("is the same schedule when read back from its text", () => {
    const schedule = compile(strategy, problemOf({ lengths, ranks, pass: "backward" }), fp32Gradients);
    expect(receivedBytes(parseSchedule(formatSchedule(schedule)))).toEqual(receivedBytes(schedule));
  });
});

describe("an option of a published system that is neither true nor false", () => {
  it.each([
    [ring, { ignoreBorders: 1 }, "invalid ignoreBorders: 1 (must be true or false)"],
    [zigzag, { fp32Gradients: "yes" }, "invalid fp32Gradients: yes (must be true or false)"],
    [zigzagPerDocument, { pad: "no" }, "invalid pad: no (must be true or false)"],
  ])("is refused in one line", (strategy, options, message) => {
    expect(() => compile(strategy, problemOf({ lengths: [9], ranks: 2 }), options)).toThrow(message);
  });
});
