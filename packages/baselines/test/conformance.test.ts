import { verify } from "@hsap/schedule";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { baselines } from "../src/index.ts";
import { anyProblem, conformancePacks, problemOf } from "./problems.ts";

/** Powers of two, odd numbers and multiples of three for either pass; the random problems below meet the rest. */
const ranksOfPass = { forward: [1, 3, 8, 16], backward: [1, 2, 6, 12, 16] } as const;

const messages = (findings: ReturnType<typeof verify>) => findings.map(({ message }) => message);

describe.each(baselines.map((strategy) => [strategy.name, strategy] as const))("%s", (_, strategy) => {
  it.each(Object.entries(conformancePacks))(
    "passes the verifier on %s, forward and backward, on 1 to 16 ranks",
    (_, pack) => {
      for (const pass of ["forward", "backward"] as const) {
        for (const ranks of ranksOfPass[pass]) {
          const problem = problemOf({ lengths: pack(ranks), ranks, ranksPerNode: 4, heads: 12, kvHeads: 6, pass });
          if (strategy.candidateDegrees(problem).length === 0) continue;
          const schedule = strategy.compile(problem, strategy.defaultDegrees(problem));
          expect(messages(verify(schedule)), `${ranks} ranks, ${pass}`).toEqual([]);
        }
      }
    },
  );

  it("passes the verifier on any small problem, at any of its candidate degrees", () => {
    fc.assert(
      fc.property(anyProblem(), fc.nat(), (problem, choice) => {
        const candidates = strategy.candidateDegrees(problem);
        if (candidates.length === 0) return;
        const schedule = strategy.compile(problem, candidates[choice % candidates.length]);
        expect(messages(verify(schedule))).toEqual([]);
      }),
      { numRuns: 30 },
    );
  });
});

/** Each option away from its default, with a problem on which it changes the schedule. */
const variants = [
  ["allgather", { shards: "contiguous" }],
  ["striped", { stripe: 1 }],
  ["striped", { stripe: 7 }],
  ["zigzag-per-document", { pad: true }],
  ["loongtrain", { placement: "context-first" }],
  ["hybrid-cp", { maxTokensPerRank: 11 }],
  ["dispatch-groupcast", { chunksPerRank: 3, stages: 1 }],
  ["dispatch-groupcast", { stages: 4 }],
] as const;

describe.each(variants)("%s with %j", (name, options) => {
  it("passes the verifier on other packs than by default, forward and backward", () => {
    const strategy = baselines.find((baseline) => baseline.name === name);
    if (strategy === undefined) throw new Error(`unknown strategy: ${name}`);
    for (const pass of ["forward", "backward"] as const) {
      const problem = problemOf({ lengths: [1, 88, 9, 46], ranks: 8, ranksPerNode: 4, heads: 4, kvHeads: 2, pass });
      for (const degrees of strategy.candidateDegrees(problem)) {
        const schedule = strategy.compile(problem, degrees, options);
        expect(messages(verify(schedule)), JSON.stringify(degrees)).toEqual([]);
      }
      const degrees = strategy.defaultDegrees(problem);
      expect(strategy.compile(problem, degrees, options)).not.toEqual(strategy.compile(problem, degrees));
    }
  });
});
