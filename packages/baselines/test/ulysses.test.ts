import {
  accountOf,
  bytesPerElement,
  kvBytesOf,
  type Problem,
  peakBytesOf,
  programOf,
  qoBytesOf,
  ranksOf,
} from "@hsap/schedule";
import { tokensOf } from "@hsap/workload";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ulysses } from "../src/index.ts";
import { anyProblem, problemOf, receivedBytes, sizesOf } from "./problems.ts";

const compile = (problem: Problem) => ulysses.compile(problem, ulysses.defaultDegrees(problem));

describe("ulysses", () => {
  it("receives (P-1)/P * (QO + KV) / P, forward and backward", () => {
    for (const ranks of [1, 2, 3, 4, 6, 12]) {
      for (const pass of ["forward", "backward"] as const) {
        const problem = problemOf({ lengths: [ranks * 5, ranks], ranks, heads: 24, kvHeads: 12, pass });
        const moved = qoBytesOf(problem) + kvBytesOf(problem);
        expect(receivedBytes(compile(problem))).toEqual(Array(ranks).fill(((ranks - 1) * moved) / ranks ** 2));
      }
    }
  });

  it("counts KV P/kvHeads times where kv heads are replicated", () => {
    for (const [ranks, kvHeads] of [
      [4, 2],
      [8, 1],
      [8, 4],
      [12, 3],
    ]) {
      for (const pass of ["forward", "backward"] as const) {
        const problem = problemOf({ lengths: [ranks * 4], ranks, heads: 24, kvHeads, pass });
        const moved = qoBytesOf(problem) + (kvBytesOf(problem) * ranks) / kvHeads;
        expect(receivedBytes(compile(problem))).toEqual(Array(ranks).fill(((ranks - 1) * moved) / ranks ** 2));
      }
    }
  });

  it("receives its heads of what others own and others' heads of what it owns, also if shards differ", () => {
    fc.assert(
      fc.property(anyProblem(), (problem) => {
        const ranks = ranksOf(problem);
        fc.pre(ulysses.candidateDegrees(problem).length > 0);
        const { heads, kvHeads, headDim, dtype } = problem.shape;
        const schedule = compile(problem);
        const row = headDim * bytesPerElement[dtype];
        const kvPerRank = Math.max(1, kvHeads / ranks);
        const expected = sizesOf(schedule.layout).map((own) => {
          const others = tokensOf(problem.batch) - own;
          const otherHeads = ((ranks - 1) * heads) / ranks;
          const into = problem.pass === "forward" ? heads / ranks + 2 * kvPerRank : heads / ranks;
          const out = problem.pass === "forward" ? otherHeads : otherHeads + 2 * (ranks - 1) * kvPerRank;
          return others * into * row + own * out * row;
        });
        expect(receivedBytes(schedule)).toEqual(expected);
      }),
    );
  });

  it("has lse as heads after the forward pass, and before the backward pass what that pass had as heads", () => {
    const sketch = { lengths: [9, 3], ranks: 2, heads: 4, kvHeads: 2 };
    const headsOf = (rank: number, tensor: string) => {
      const heads = tensor === "k" || tensor === "v" ? 1 : 2;
      const range = { headBegin: rank * heads, headEnd: (rank + 1) * heads };
      return { tensor, part: 0, tokenBegin: 0, tokenEnd: 12, ...range };
    };
    expect(compile(problemOf(sketch)).resident).toEqual([[headsOf(0, "lse")], [headsOf(1, "lse")]]);
    expect(compile(problemOf({ ...sketch, pass: "backward" })).resident).toEqual(
      [0, 1].map((rank) => ["q", "k", "v", "lse", "delta"].map((tensor) => headsOf(rank, tensor))),
    );
  });

  it("needs 1/P of the memory of one rank, and a part of its own rows of other heads", () => {
    for (const pass of ["forward", "backward"] as const) {
      const sketch = { lengths: [64], heads: 8, kvHeads: 8, headDim: 16, pass };
      const alone = peakBytesOf(compile(problemOf({ ...sketch, ranks: 1 })))[0];
      const split = peakBytesOf(compile(problemOf({ ...sketch, ranks: 4 })));
      for (const bytes of split) {
        expect(bytes).toBeGreaterThan(alone / 4);
        expect(bytes).toBeLessThan(alone / 2);
      }
    }
  });

  it("is balanced exactly, whatever the documents", () => {
    for (const lengths of [[24], [1, 2, 3, 40], Array(24).fill(1)]) {
      expect(accountOf(compile(problemOf({ lengths, ranks: 4, heads: 8, kvHeads: 4 }))).area.balance).toBe(1);
    }
  });

  it("moves everything in two groups", () => {
    for (const pass of ["forward", "backward"] as const) {
      const schedule = compile(problemOf({ lengths: [16], ranks: 4, heads: 8, kvHeads: 4, pass }));
      const groups = [...programOf(schedule, 1)].flatMap((op) => ("groupKind" in op ? [op] : []));
      expect(new Set(groups.map(({ group }) => group))).toEqual(new Set([0, 1]));
      expect(new Set(groups.map(({ groupKind }) => groupKind))).toEqual(new Set(["allToAll"]));
    }
  });

  it("refuses ranks that do not divide the heads", () => {
    expect(() => compile(problemOf({ lengths: [8], ranks: 3, heads: 4, kvHeads: 4 }))).toThrow(
      "invalid degree: ulysses=3 (ulysses splits heads: must divide 4 heads)",
    );
  });

  it("refuses ranks that neither divide the kv heads nor are a multiple of them", () => {
    expect(() => compile(problemOf({ lengths: [8], ranks: 6, heads: 12, kvHeads: 4 }))).toThrow(
      "invalid degree: ulysses=6 (ulysses splits heads: must divide 4 kv heads or be a multiple of them)",
    );
  });

  it("has no candidate degrees where it cannot run", () => {
    expect(ulysses.candidateDegrees(problemOf({ lengths: [8], ranks: 3, heads: 4, kvHeads: 4 }))).toEqual([]);
  });
});
