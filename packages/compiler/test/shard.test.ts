import { areaOf } from "@hsap/schedule";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { hierarchyOf } from "../src/hierarchy.ts";
import { hsap } from "../src/hsap.ts";
import { maskOf, rowArea } from "../src/shard/row-area.ts";
import { piecesByOwner, shard as shardAsColumns } from "../src/shard/shard.ts";
import { problemOf } from "./problems.ts";

const shard = (...given: Parameters<typeof shardAsColumns>) => piecesByOwner(shardAsColumns(...given));

const lengthOf = ({ begin, end }: { begin: number; end: number }) => end - begin;
const tokensPerUnit = (sharding: readonly (readonly { begin: number; end: number }[])[]) =>
  sharding.map((pieces) => pieces.reduce((sum, piece) => sum + lengthOf(piece), 0));

const anyProblem = fc
  .record({
    lengths: fc.array(fc.oneof(fc.integer({ min: 1, max: 30 }), fc.integer({ min: 1, max: 20000 })), {
      minLength: 1,
      maxLength: 60,
    }),
    ranks: fc.integer({ min: 1, max: 40 }),
    ranksPerNode: fc.integer({ min: 1, max: 8 }),
    mask: fc.constantFrom("causal" as const, "full" as const),
  })
  .map(problemOf);

/** Any documents, and as many ranks as leave at least 4096 tokens to each. */
const manyTokens = fc
  .record({
    lengths: fc.array(fc.oneof(fc.integer({ min: 1, max: 300 }), fc.integer({ min: 1, max: 60000 })), {
      minLength: 20,
      maxLength: 120,
    }),
    most: fc.integer({ min: 2, max: 32 }),
    ranksPerNode: fc.integer({ min: 2, max: 8 }),
    mask: fc.constantFrom("causal" as const, "full" as const),
  })
  .map(({ lengths, most, ...others }) => {
    const tokens = lengths.reduce((sum, length) => sum + length, 0);
    return problemOf({ ...others, lengths, ranks: Math.max(1, Math.min(most, Math.floor(tokens / 4096))) });
  });

describe("shard", () => {
  it("gives every token to exactly one unit, whatever the lengths", () => {
    fc.assert(
      fc.property(anyProblem, fc.constantFrom("balanced" as const, "contiguous" as const), (problem, kind) => {
        const sharding = shard(problem, hierarchyOf(problem, { ulysses: 1, sap: problem.cluster.ranks }), kind);
        const pieces = sharding.flat().sort((a, b) => a.begin - b.begin);
        const { cuSeqlens } = problem.batch;
        let next = 0;
        for (const { document, begin, end } of pieces) {
          expect(begin).toBe(next);
          expect(begin >= cuSeqlens[document] && end <= cuSeqlens[document + 1] && begin < end).toBe(true);
          next = end;
        }
        expect(next).toBe(cuSeqlens[cuSeqlens.length - 1]);
      }),
    );
  });

  it("keeps the tokens of all ranks within 1 % or two tokens of the mean when balanced", () => {
    fc.assert(
      fc.property(anyProblem, (problem) => {
        const sharding = shard(problem, hierarchyOf(problem, { ulysses: 1, sap: problem.cluster.ranks }), "balanced");
        const tokens = tokensPerUnit(sharding);
        const mean = tokens.reduce((sum, count) => sum + count, 0) / tokens.length;
        for (const count of tokens) expect(Math.abs(count - mean)).toBeLessThanOrEqual(Math.max(2, 0.01 * mean));
      }),
    );
  });

  it("keeps the area of all ranks within 1.02 of the mean when ranks have thousands of tokens", () => {
    fc.assert(
      fc.property(manyTokens, (problem) => {
        const { ranks } = problem.cluster;
        const sharding = shard(problem, hierarchyOf(problem, { ulysses: 1, sap: ranks }), "balanced");
        const mask = maskOf(problem);
        const area = sharding.map((pieces) =>
          pieces.reduce((sum, { document, begin, end }) => sum + rowArea(mask, document, begin, end), 0),
        );
        expect(Math.max(...area) / (areaOf(problem) / ranks)).toBeLessThanOrEqual(1.02);
      }),
    );
  });

  it("keeps the tokens of all ranks within 1 % or four tokens of the mean when some documents' heads are split over nodes", () => {
    const overNodes = fc.record({
      lengths: fc.array(fc.oneof(fc.integer({ min: 1, max: 300 }), fc.integer({ min: 1, max: 60000 })), {
        minLength: 1,
        maxLength: 40,
      }),
      nodes: fc.constantFrom(2, 4),
      ranksPerNode: fc.constantFrom(2, 4),
      units: fc.constantFrom(1, 2),
      split: fc.constantFrom("nodes", 1, 0.5, "all"),
    });
    fc.assert(
      fc.property(overNodes, ({ lengths, nodes, ranksPerNode, units, split }) => {
        const ranks = nodes * ranksPerNode;
        const problem = problemOf({ lengths, ranks, ranksPerNode, shape: { heads: 16, kvHeads: 16 } });
        const { layout } = hsap.compile(problem, { ulysses: ranks / units, sap: units }, { split });
        const tokens = tokensPerUnit(layout);
        const mean = tokens.reduce((sum, count) => sum + count, 0) / ranks;
        for (const count of tokens) expect(Math.abs(count - mean)).toBeLessThanOrEqual(Math.max(4, 0.01 * mean));
      }),
    );
  });

  it("cuts one document so that each of 4 ranks gets a front and a back of like area", () => {
    const problem = problemOf({ lengths: [8000], ranks: 4, ranksPerNode: 4 });
    const sharding = shard(problem, hierarchyOf(problem, { ulysses: 1, sap: 4 }), "balanced");
    expect(sharding.map((pieces) => pieces.map(({ begin, end }) => [begin, end]))).toEqual([
      [
        [0, 1000],
        [7000, 8000],
      ],
      [
        [1000, 2000],
        [6000, 7000],
      ],
      [
        [2000, 3000],
        [5000, 6000],
      ],
      [[3000, 5000]],
    ]);
  });

  it("leaves documents whole where they can be dealt evenly", () => {
    const problem = problemOf({
      lengths: [300, 100, 500, 100, 300, 500, 300, 100, 500, 100, 300, 500],
      ranks: 4,
      ranksPerNode: 2,
    });
    const sharding = shard(problem, hierarchyOf(problem, { ulysses: 1, sap: 4 }), "balanced");
    expect(sharding.flat().length).toBe(12);
    expect(sharding.map((pieces) => pieces.map(lengthOf).sort((a, b) => a - b))).toEqual(
      new Array(4).fill([100, 300, 500]),
    );
  });
});
