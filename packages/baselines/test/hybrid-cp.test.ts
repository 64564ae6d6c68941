import { accountOf, kvBytesOf, type Problem } from "@hsap/schedule";
import { tokensOf } from "@hsap/workload";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { hybridCp } from "../src/index.ts";
import { anyProblem, problemOf, receivedBytes } from "./problems.ts";

const compile = (problem: Problem, maxTokensPerRank = 0) =>
  hybridCp.compile(problem, hybridCp.defaultDegrees(problem), { maxTokensPerRank });

const ranksWith = (schedule: ReturnType<typeof compile>, begin: number, end: number) =>
  schedule.layout.flatMap((ranges, rank) => (ranges.some((r) => r.begin < end && r.end > begin) ? [rank] : []));

describe("hybrid-cp", () => {
  it("gives a document 2^ceil(log2(length / maxTokensPerRank)) neighbours, in a group that begins at a multiple of that", () => {
    const lengths = [64, 33, 32, 17, 16, 8];
    const schedule = compile(problemOf({ lengths, ranks: 8 }), 16);
    let begin = 0;
    for (const [document, size] of [4, 4, 2, 2, 1, 1].entries()) {
      const ranks = ranksWith(schedule, begin, begin + lengths[document]);
      expect(ranks).toHaveLength(size);
      expect(ranks[0] % size).toBe(0);
      expect(ranks[size - 1]).toBe(ranks[0] + size - 1);
      begin += lengths[document];
    }
  });

  it("sends nothing for documents that fit on a rank", () => {
    expect(accountOf(compile(problemOf({ lengths: [16, 16, 16, 16], ranks: 4 }))).receivedBytes.total).toBe(0);
  });

  it("receives the sum of (cp-1)/cp of a document's keys and values over its documents, twice that backward", () => {
    for (const [pass, times] of [
      ["forward", 1],
      ["backward", 2],
    ] as const) {
      const problem = problemOf({ lengths: [64, 32, 16, 16], ranks: 8, pass });
      const perToken = kvBytesOf(problem) / tokensOf(problem.batch);
      // 64 tokens on ranks 0 to 3, 32 on 4 and 5, 16 each on 6 and 7, at 16 tokens a rank.
      const [long, medium] = [(3 / 4) * 64, (1 / 2) * 32];
      const expected = [long, long, long, long, medium, medium, 0, 0].map((tokens) => times * tokens * perToken);
      expect(receivedBytes(compile(problem, 16))).toEqual(expected);
    }
  });

  it("receives zigzag's volume of each document in all, also if chunks differ", () => {
    const powers = fc.constantFrom(1, 2, 4, 8, 16);
    fc.assert(
      fc.property(anyProblem({ ranks: powers }), (problem) => {
        const schedule = compile(problem);
        const perToken = kvBytesOf(problem) / tokensOf(problem.batch);
        const limit = Math.ceil(tokensOf(problem.batch) / problem.cluster.ranks);
        let tokens = 0;
        for (let d = 0; d + 1 < problem.batch.cuSeqlens.length; d++) {
          const length = problem.batch.cuSeqlens[d + 1] - problem.batch.cuSeqlens[d];
          tokens += length * (2 ** Math.max(0, Math.ceil(Math.log2(length / limit))) - 1);
        }
        const times = problem.pass === "forward" ? 1 : 2;
        expect(accountOf(schedule).receivedBytes.total).toBe(times * tokens * perToken);
      }),
    );
  });

  it("is balanced exactly where groups are all as busy", () => {
    expect(accountOf(compile(problemOf({ lengths: [32, 32], ranks: 4 }))).area.balance).toBe(1);
  });

  it.each([
    [{ ranks: 6 }, 0, "invalid ranks: 6 (hybrid-cp has groups of powers of two, and so must the ranks be)"],
    [{ ranks: 4 }, 2, "invalid maxTokensPerRank: 2 (a document of 12 tokens would need 8 of 4 ranks)"],
    [{ ranks: 4 }, -1, "invalid maxTokensPerRank: -1 (must be a whole number of tokens, or 0)"],
  ])("refuses %j with maxTokensPerRank %d", (sketch, limit, message) => {
    expect(() => compile(problemOf({ lengths: [12, 3], ...sketch }), limit)).toThrow(message);
  });
});
