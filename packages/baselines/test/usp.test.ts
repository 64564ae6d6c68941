import { accountOf, bytesPerElement, kvBytesOf, type Problem, qoBytesOf, type Strategy } from "@hsap/schedule";
import { tokensOf } from "@hsap/workload";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { loongtrain, usp } from "../src/index.ts";
import { anyProblem, problemOf, receivedBytes, sizesOf } from "./problems.ts";

/** (Pu-1)/Pu * (QO + KV) / P + (Pr-1)/Pr * KV / Pu, the second term twice in the backward pass. */
function expectedBytes(problem: Problem, pu: number, pr: number): number {
  const allToAll = ((pu - 1) * (qoBytesOf(problem) + kvBytesOf(problem))) / pu / (pu * pr);
  const ring = ((pr - 1) * kvBytesOf(problem)) / pr / pu;
  return allToAll + (problem.pass === "forward" ? ring : 2 * ring);
}

const grids = [
  [1, 1],
  [1, 4],
  [2, 2],
  [4, 1],
  [2, 3],
  [3, 2],
  [4, 3],
  [2, 8],
] as const;

describe.each([
  ["usp", usp, (pr: number) => ({ ring: pr })],
  ["loongtrain with one inner ring", loongtrain, (pr: number) => ({ inner: pr, outer: 1 })],
  ["loongtrain with one outer ring", loongtrain, (pr: number) => ({ inner: 1, outer: pr })],
  ["loongtrain with rings of two", loongtrain, (pr: number) => (pr % 2 ? { inner: pr } : { inner: 2, outer: pr / 2 })],
] as [string, Strategy, (pr: number) => Record<string, number>][])("%s", (_, strategy, ring) => {
  it("receives (Pu-1)/Pu * (QO + KV) / P + (Pr-1)/Pr * KV / Pu, the ring's part twice backward", () => {
    for (const [pu, pr] of grids) {
      for (const pass of ["forward", "backward"] as const) {
        const ranks = pu * pr;
        const problem = problemOf({ lengths: [ranks * 8, ranks * 2], ranks, heads: 24, kvHeads: 12, pass });
        const received = receivedBytes(strategy.compile(problem, { ulysses: pu, ...ring(pr) }));
        expect(received).toEqual(Array(ranks).fill(expectedBytes(problem, pu, pr)));
      }
    }
  });

  it("receives that on average, whether or not shards are equal, for any candidate degrees", () => {
    fc.assert(
      fc.property(anyProblem(), fc.nat(), (problem, choice) => {
        const candidates = strategy.candidateDegrees(problem);
        const degrees = candidates[choice % candidates.length];
        const { ulysses } = degrees;
        const places = problem.cluster.ranks / ulysses;
        const { heads, kvHeads, headDim, dtype } = problem.shape;
        const schedule = strategy.compile(problem, degrees);
        const tokens = tokensOf(problem.batch);
        const kvHeadsEach = Math.max(1, kvHeads / ulysses);
        // Every row is received once as the q or dq, and once as the o or do, of all heads but those of its owner; as k and v
        // or dk and dv by all in its group but its owner; and then by every other place of each ring.
        const allToAll = 2 * tokens * (ulysses - 1) * (heads / ulysses + kvHeadsEach);
        const rings = 2 * tokens * (places - 1) * ulysses * kvHeadsEach * (problem.pass === "forward" ? 1 : 2);
        expect(accountOf(schedule).receivedBytes.total).toBe((allToAll + rings) * headDim * bytesPerElement[dtype]);
        const sizes = sizesOf(schedule.layout);
        expect(sizes.reduce((a, b) => a + b)).toBe(tokens);
      }),
      { numRuns: 60 },
    );
  });

  it("is balanced exactly on one causal document of 2 Pr equal chunks", () => {
    const problem = problemOf({ lengths: [96], ranks: 8, heads: 8, kvHeads: 4 });
    expect(accountOf(strategy.compile(problem, { ulysses: 2, ...ring(4) })).area.balance).toBe(1);
  });

  it("refuses an ulysses degree that does not split the heads, in its own name", () => {
    const problem = problemOf({ lengths: [8], ranks: 6, heads: 4, kvHeads: 4 });
    expect(() => strategy.compile(problem, { ulysses: 3, ...ring(2) })).toThrow(
      `invalid degree: ulysses=3 (${strategy.name} splits heads: must divide 4 heads)`,
    );
  });
});

describe("usp", () => {
  it("splits heads inside a node by default, and no kv head twice", () => {
    const degrees = (ranksPerNode: number, kvHeads: number) =>
      usp.defaultDegrees(problemOf({ lengths: [64], ranks: 16, ranksPerNode, heads: 16, kvHeads }));
    expect(degrees(4, 8)).toEqual({ ulysses: 4, ring: 4 });
    expect(degrees(8, 2)).toEqual({ ulysses: 2, ring: 8 });
    expect(degrees(8, 1)).toEqual({ ulysses: 1, ring: 16 });
  });

  it("divides the two chunks of a group among its ranks", () => {
    const { layout } = usp.compile(problemOf({ lengths: [16], ranks: 4 }), { ulysses: 2, ring: 2 });
    expect(layout).toEqual([
      [{ begin: 0, end: 4 }],
      [{ begin: 12, end: 16 }],
      [{ begin: 4, end: 8 }],
      [{ begin: 8, end: 12 }],
    ]);
  });
});

describe("loongtrain", () => {
  const problem = problemOf({ lengths: [128], ranks: 16, ranksPerNode: 8, heads: 8, kvHeads: 2 });

  it("has an inner ring of what a node holds beside the heads, by default", () => {
    expect(loongtrain.defaultDegrees(problem)).toEqual({ ulysses: 2, inner: 4, outer: 2 });
  });

  it("moves less between nodes with the outer ring than usp with its one ring, and as much in all", () => {
    const one = accountOf(usp.compile(problem, { ulysses: 2, ring: 8 }));
    const two = accountOf(loongtrain.compile(problem, { ulysses: 2, inner: 4, outer: 2 }));
    expect(two.receivedBytes.total).toBe(one.receivedBytes.total);
    // One ring of 8 places crosses to the other node with 2 of its 8 links, 7 times; two inner rings of 4 with all 8, once.
    expect(two.betweenNodesBytes * 14).toBe(one.betweenNodesBytes * 8);
  });

  it("keeps whole rings in a node when ranks are placed context-first, head splits when head-first", () => {
    const between = (placement: string) =>
      accountOf(loongtrain.compile(problem, { ulysses: 2, inner: 8, outer: 1 }, { placement })).betweenNodesBytes;
    // Context-first, only the all-to-all of two ranks crosses nodes; head-first, only the ring does.
    expect(between("context-first")).toBe((qoBytesOf(problem) + kvBytesOf(problem)) / 2);
    expect(between("head-first")).toBe((2 / 8) * 7 * kvBytesOf(problem));
  });

  it("refuses a placement that it does not know", () => {
    expect(() => loongtrain.compile(problem, { ulysses: 2, inner: 8 }, { placement: "random" })).toThrow(
      "unknown placement: random (loongtrain has head-first and context-first)",
    );
  });
});
