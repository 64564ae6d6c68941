import { accountOf, bytesPerElement, type Problem, ranksOf } from "@hsap/schedule";
import { tokensOf } from "@hsap/workload";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { colaiSp } from "../src/index.ts";
import { anyProblem, problemOf, receivedBytes, sizesOf } from "./problems.ts";

const compile = (problem: Problem) => colaiSp.compile(problem, colaiSp.defaultDegrees(problem));

/** Bytes of one token of keys (or of values), expanded to all heads: h * e. */
const expandedRow = ({ shape: { heads, headDim, dtype } }: Problem) => heads * headDim * bytesPerElement[dtype];

describe("colai-sp", () => {
  it("receives 2(P-1)/P * N*h*e forward: keys, then values, of all heads", () => {
    for (const ranks of [1, 2, 3, 6, 8, 12, 16]) {
      const problem = problemOf({ lengths: [ranks * 3, ranks], ranks, heads: 6, kvHeads: 2 });
      const expected = (2 * (ranks - 1) * tokensOf(problem.batch) * expandedRow(problem)) / ranks;
      expect(receivedBytes(compile(problem))).toEqual(Array(ranks).fill(expected));
    }
  });

  it("receives 6(P-1)/P * N*h*e backward: two rings and two all-reduces", () => {
    for (const ranks of [1, 2, 3, 6, 8, 12, 16]) {
      const problem = problemOf({ lengths: [ranks * 3, ranks], ranks, heads: 6, kvHeads: 2, pass: "backward" });
      const expected = (6 * (ranks - 1) * tokensOf(problem.batch) * expandedRow(problem)) / ranks;
      expect(receivedBytes(compile(problem))).toEqual(Array(ranks).fill(expected));
    }
  });

  it("receives all pieces but its own four times backward, and P-1 shares of its own twice, also if pieces differ", () => {
    fc.assert(
      fc.property(anyProblem(), (problem) => {
        const schedule = compile(problem);
        const ranks = ranksOf(problem);
        const expected = sizesOf(schedule.layout).map((own) => {
          const others = tokensOf(problem.batch) - own;
          const rows = problem.pass === "forward" ? 2 * others : 4 * others + 2 * (ranks - 1) * own;
          return rows * expandedRow(problem);
        });
        expect(receivedBytes(schedule)).toEqual(expected);
      }),
    );
  });

  it("computes the whole rectangle of N/P x N on each rank, masked or not", () => {
    for (const lengths of [[32], [4, 4, 24], Array(32).fill(1)]) {
      const { area } = accountOf(compile(problemOf({ lengths, ranks: 4 })));
      expect([...area.perRank]).toEqual(Array(4).fill(4 * 8 * 32));
    }
  });

  it("materialises scores: as many columns in all as there are keys", () => {
    const { tensors } = compile(problemOf({ lengths: [30], ranks: 4 }));
    expect(tensors.find(({ name }) => name === "s")).toMatchObject({ heads: 4, width: 8, role: "internal" });
  });
});
