import { clusterOf, presetCluster } from "@hsap/cluster";
import type { Problem } from "@hsap/schedule";
import { namedPack } from "@hsap/workload";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { KernelClock } from "../src/cost/kernel-time.ts";
import { hierarchyOf } from "../src/hierarchy.ts";
import type { Piece } from "../src/piece.ts";
import { maskOf, rowArea } from "../src/shard/row-area.ts";
import { piecesByOwner, shard } from "../src/shard/shard.ts";
import { problemOf } from "./problems.ts";

const flatShards = (problem: Problem) =>
  piecesByOwner(shard(problem, hierarchyOf(problem, { ulysses: 1, sap: problem.cluster.ranks }), "balanced"));

const highestToMean = (shards: readonly (readonly Piece[])[], of: (piece: Piece) => number): number => {
  const sums = shards.map((pieces) => pieces.reduce((sum, piece) => sum + of(piece), 0));
  return Math.max(...sums) / (sums.reduce((sum, value) => sum + value, 0) / sums.length);
};

/** What a kernel takes for a piece's queries against their keys, with the launch of the call that those from elsewhere need. */
const kernelUs = (problem: Problem) => {
  const clock = new KernelClock(problem);
  return ({ document, begin, end }: Piece) => {
    const first = problem.batch.cuSeqlens[document];
    const arrivalUs = begin > first ? clock.launchUs : 0;
    return clock.tileUs(begin, end, first, end, true, problem.shape.heads) + arrivalUs;
  };
};

/** Lengths from a wide law: most a few hundred tokens, some thousands, as turns of instructions are. */
const manyShort = fc
  .record({
    lengths: fc.array(
      fc.oneof(
        { weight: 8, arbitrary: fc.integer({ min: 10, max: 250 }) },
        { weight: 1, arbitrary: fc.integer({ min: 250, max: 2500 }) },
      ),
      { minLength: 300, maxLength: 500 },
    ),
    ranks: fc.constantFrom(4, 8, 16),
    mask: fc.constantFrom("causal" as const, "full" as const),
  })
  .map((given) => problemOf({ ...given, ranksPerNode: 8 }));

describe("shards of many short documents", () => {
  for (const ranks of [8, 16, 32, 64]) {
    it(`even out tokens, area and the time of kernels, and cut at most one document a rank: instruct-${ranks}`, () => {
      const problem: Problem = {
        batch: namedPack(`instruct-${ranks}`),
        shape: { heads: 64, kvHeads: 8, headDim: 128, dtype: "bf16" },
        cluster: clusterOf({ ranks, ranksPerNode: 8, from: presetCluster("h100-400g") }),
        mask: "causal",
        pass: "forward",
      };
      const shards = flatShards(problem);
      const mask = maskOf(problem);
      expect(highestToMean(shards, ({ begin, end }) => end - begin)).toBeLessThanOrEqual(1.01);
      expect(
        highestToMean(shards, ({ document, begin, end }) => rowArea(mask, document, begin, end)),
      ).toBeLessThanOrEqual(1.02);
      expect(highestToMean(shards, kernelUs(problem))).toBeLessThanOrEqual(1.08);
      const pieces = shards.reduce((sum, { length }) => sum + length, 0);
      expect(pieces - (problem.batch.cuSeqlens.length - 1)).toBeLessThanOrEqual(ranks);
    });
  }

  it("keep the bounds of tokens and area, and every token once, whatever the lengths", () => {
    fc.assert(
      fc.property(manyShort, (problem) => {
        const shards = flatShards(problem);
        const mask = maskOf(problem);
        expect(highestToMean(shards, ({ begin, end }) => end - begin)).toBeLessThanOrEqual(1.01);
        expect(
          highestToMean(shards, ({ document, begin, end }) => rowArea(mask, document, begin, end)),
        ).toBeLessThanOrEqual(1.02);
        let next = 0;
        for (const { begin, end } of shards.flat().sort((a, b) => a.begin - b.begin)) {
          expect(begin).toBe(next);
          expect(end).toBeGreaterThan(begin);
          next = end;
        }
        expect(next).toBe(problem.batch.cuSeqlens[problem.batch.cuSeqlens.length - 1]);
      }),
      { numRuns: 30 },
    );
  });
});
