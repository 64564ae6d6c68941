import { accountOf, kvBytesOf, type Problem } from "@hsap/schedule";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { striped } from "../src/index.ts";
import { anyProblem, problemOf, receivedBytes, ringBytes } from "./problems.ts";

const compile = (problem: Problem, stripe?: number) =>
  striped.compile(problem, striped.defaultDegrees(problem), stripe === undefined ? undefined : { stripe });

describe("striped", () => {
  it("has token i on rank i mod P if a stripe is one token", () => {
    const { layout } = compile(problemOf({ lengths: [5, 2], ranks: 3 }), 1);
    const tokens = layout.map((ranges) => ranges.map(({ begin, end }) => [begin, end]));
    expect(tokens).toEqual([
      [
        [0, 1],
        [3, 4],
        [6, 7],
      ],
      [
        [1, 2],
        [4, 5],
      ],
      [
        [2, 3],
        [5, 6],
      ],
    ]);
  });

  it("has 4 stripes on each rank otherwise, unless there are fewer tokens", () => {
    expect(compile(problemOf({ lengths: [320], ranks: 2 })).layout.map((ranges) => ranges.length)).toEqual([4, 4]);
    expect(compile(problemOf({ lengths: [5], ranks: 2 })).layout.map((ranges) => ranges.length)).toEqual([3, 2]);
  });

  it("receives (P-1)/P of all keys and values forward, and twice that backward", () => {
    for (const ranks of [1, 2, 3, 6, 8]) {
      for (const [pass, times] of [
        ["forward", 1],
        ["backward", 2],
      ] as const) {
        const problem = problemOf({ lengths: [ranks * 3, ranks], ranks, pass });
        const expected = (times * (ranks - 1) * kvBytesOf(problem)) / ranks;
        expect(receivedBytes(compile(problem, 1))).toEqual(Array(ranks).fill(expected));
      }
    }
  });

  it("receives all shards but its own, also if shards differ", () => {
    fc.assert(
      fc.property(anyProblem(), fc.integer({ min: 1, max: 9 }), (problem, stripe) => {
        const schedule = compile(problem, stripe);
        expect(receivedBytes(schedule)).toEqual(ringBytes(schedule));
      }),
      { numRuns: 30 },
    );
  });

  it("gives the last rank (nP + P) / (nP + 1) of the mean on one causal document in stripes of one token", () => {
    for (const [ranks, tokens] of [
      [2, 4],
      [3, 7],
      [8, 4],
    ]) {
      const { area } = accountOf(compile(problemOf({ lengths: [ranks * tokens], ranks }), 1));
      expect(area.balance).toBeCloseTo((tokens * ranks + ranks) / (tokens * ranks + 1), 12);
      expect([...area.perRank]).toEqual(
        Array.from(area.perRank, (_, rank) => 4 * ((tokens * (tokens * ranks - ranks + 2 * rank + 2)) / 2)),
      );
    }
  });

  it("refuses a stripe that is not a whole number of tokens", () => {
    expect(() => compile(problemOf({ lengths: [8], ranks: 2 }), 1.5)).toThrow(
      "invalid stripe: 1.5 (must be a whole number of tokens, or 0)",
    );
  });
});
