import { accountOf, bytesPerElement, type Problem, ranksOf, verify } from "@hsap/schedule";
import { tokensOf } from "@hsap/workload";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { megatronAttention } from "../src/index.ts";
import { anyProblem, problemOf, receivedBytes } from "./problems.ts";

const compile = (problem: Problem) => megatronAttention.compile(problem, megatronAttention.defaultDegrees(problem));

/** 2 (P-1)/P * N*hidden*e, and what the docstring adds. */
function publishedBytes(problem: Problem): number {
  const { heads, kvHeads, headDim, dtype } = problem.shape;
  const ranks = ranksOf(problem);
  const tokens = ((ranks - 1) * tokensOf(problem.batch)) / ranks;
  const rows = 2 * tokens * heads * headDim * bytesPerElement[dtype];
  if (problem.pass === "forward") return rows + tokens * heads * 4;
  return rows + (ranks > kvHeads ? 2 * tokens * headDim * bytesPerElement[dtype] : 0);
}

describe("megatron-attention", () => {
  it("receives 2 (P-1)/P of the hidden rows, with the log-sum-exp forward and shares of replicated kv heads backward", () => {
    for (const [ranks, kvHeads] of [
      [1, 2],
      [2, 2],
      [4, 4],
      [8, 2],
      [12, 12],
    ]) {
      for (const pass of ["forward", "backward"] as const) {
        const problem = problemOf({ lengths: [ranks * 5, ranks], ranks, heads: 24, kvHeads, pass });
        expect(receivedBytes(compile(problem))).toEqual(Array(ranks).fill(publishedBytes(problem)));
      }
    }
  });

  it("passes the verifier on any small problem whose heads it can split", () => {
    fc.assert(
      fc.property(anyProblem(), (problem) => {
        if (megatronAttention.candidateDegrees(problem).length === 0) return;
        expect(verify(compile(problem)).map(({ message }) => message)).toEqual([]);
      }),
      { numRuns: 60 },
    );
  });

  it("is balanced whatever the documents", () => {
    const { area } = accountOf(compile(problemOf({ lengths: [90, 3, 2, 1], ranks: 4, heads: 8, kvHeads: 4 })));
    expect(area.balance).toBe(1);
  });

  it("refuses heads that it cannot split, in its own terms", () => {
    const problem = problemOf({ lengths: [9], ranks: 3, heads: 4, kvHeads: 2 });
    expect(megatronAttention.candidateDegrees(problem)).toEqual([]);
    expect(() => megatronAttention.compile(problem, { tensor: 3 })).toThrow(
      "invalid degree: tensor=3 (megatron-attention splits heads: must divide 4 heads)",
    );
  });
});
