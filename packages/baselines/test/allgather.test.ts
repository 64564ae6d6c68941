import { accountOf, kvBytesOf, type Problem, programOf, ranksOf, type StrategyOptions } from "@hsap/schedule";
import { tokensOf } from "@hsap/workload";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { allgather } from "../src/index.ts";
import { anyProblem, problemOf, receivedBytes, sizesOf } from "./problems.ts";

const compile = (problem: Problem, options?: StrategyOptions) =>
  allgather.compile(problem, allgather.defaultDegrees(problem), options);

const shardings = ["zigzag", "contiguous"] as const;

describe("allgather", () => {
  it.each(shardings)("receives (P-1)/P * KV forward and twice that backward, %s", (shards) => {
    for (const ranks of [1, 2, 3, 6, 8, 12, 16]) {
      for (const [pass, times] of [
        ["forward", 1],
        ["backward", 2],
      ] as const) {
        const problem = problemOf({ lengths: [2 * ranks * 3, 2 * ranks], ranks, pass });
        const expected = (times * (ranks - 1) * kvBytesOf(problem)) / ranks;
        expect(receivedBytes(compile(problem, { shards }))).toEqual(Array(ranks).fill(expected));
      }
    }
  });

  it("receives all pieces but its own, and P-1 shares of the gradients of its own, also if pieces differ", () => {
    fc.assert(
      fc.property(anyProblem(), fc.constantFrom(...shardings), (problem, shards) => {
        const schedule = compile(problem, { shards });
        const tokens = tokensOf(problem.batch);
        const perToken = kvBytesOf(problem) / tokens;
        const expected = sizesOf(schedule.layout).map(
          (own) => perToken * (tokens - own + (problem.pass === "forward" ? 0 : (ranksOf(problem) - 1) * own)),
        );
        expect(receivedBytes(schedule)).toEqual(expected);
      }),
    );
  });

  it("moves keys and values in one all-gather, gradients in one reduce-scatter", () => {
    const schedule = compile(problemOf({ lengths: [16], ranks: 4, pass: "backward" }));
    const kinds = [...programOf(schedule, 1)].flatMap((op) =>
      "groupKind" in op ? [`${op.group} ${op.groupKind}`] : [],
    );
    expect(new Set(kinds)).toEqual(new Set(["0 allGather", "1 reduceScatter"]));
  });

  it("is balanced exactly on one causal document of 2P equal chunks", () => {
    expect(accountOf(compile(problemOf({ lengths: [64], ranks: 4 }))).area.balance).toBe(1);
  });

  it("is as far out of balance as ring where it shards contiguously", () => {
    const { balance } = accountOf(compile(problemOf({ lengths: [64], ranks: 4 }), { shards: "contiguous" })).area;
    expect(balance).toBeCloseTo((7 * 16 + 1) / (4 * 16 + 1), 12);
  });

  it("refuses shards that it does not know", () => {
    expect(() => compile(problemOf({ lengths: [8], ranks: 2 }), { shards: "striped" })).toThrow(
      "unknown shards: striped (allgather has zigzag, zigzag-per-document and contiguous)",
    );
  });
});
