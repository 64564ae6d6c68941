import { readFileSync } from "node:fs";
import { clusterOf } from "@hsap/cluster";
import { accountOf, kvBytesOf, type Problem, programOf, type StrategyOptions } from "@hsap/schedule";
import { documentAt, namedPack, tokensOf } from "@hsap/workload";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { dispatchGroupcast } from "../src/index.ts";
import { anyProblem, problemOf, receivedBytes, sizesOf } from "./problems.ts";

const compile = (problem: Problem, options?: StrategyOptions) =>
  dispatchGroupcast.compile(problem, dispatchGroupcast.defaultDegrees(problem), options);

/** For each rank, the rows of others that its queries attend to: counted token by token, from the definition. */
function neededRows(schedule: ReturnType<typeof compile>): Set<number>[] {
  const { problem, layout } = schedule;
  return layout.map((ranges) => {
    const [own, needed] = [new Set<number>(), new Set<number>()];
    for (const { begin, end } of ranges) for (let token = begin; token < end; token++) own.add(token);
    for (const query of own) {
      const document = documentAt(problem.batch, query);
      const end = problem.mask === "causal" ? query + 1 : problem.batch.cuSeqlens[document + 1];
      for (let key = problem.batch.cuSeqlens[document]; key < end; key++) if (!own.has(key)) needed.add(key);
    }
    return needed;
  });
}

describe("dispatch-groupcast", () => {
  it("deals chunks by area to the rank with the least, each rank the same number", () => {
    // Chunks of 2 tokens with areas 3, 7, 11, 15: the largest to rank 0, then 11 to rank 1, 7 to rank 1, 3 to rank 0.
    const { layout } = compile(problemOf({ lengths: [8], ranks: 2 }), { chunksPerRank: 2 });
    expect(layout).toEqual([
      [
        { begin: 0, end: 2 },
        { begin: 6, end: 8 },
      ],
      [{ begin: 2, end: 6 }],
    ]);
  });

  it("receives the rows that it needs and does not own, and in the backward pass a gradient from each who needs its own", () => {
    fc.assert(
      fc.property(
        anyProblem(),
        fc.integer({ min: 1, max: 4 }),
        fc.integer({ min: 1, max: 9 }),
        (problem, stages, chunksPerRank) => {
          const schedule = compile(problem, { stages, chunksPerRank });
          const needed = neededRows(schedule);
          const perToken = kvBytesOf(problem) / tokensOf(problem.batch);
          const expected = schedule.layout.map((ranges, rank) => {
            const isOwn = (token: number) => ranges.some(({ begin, end }) => begin <= token && token < end);
            const gradients = needed.reduce((sum, rows) => sum + [...rows].filter(isOwn).length, 0);
            return perToken * (needed[rank].size + (problem.pass === "forward" ? 0 : gradients));
          });
          expect(receivedBytes(schedule)).toEqual(expected);
        },
      ),
      { numRuns: 60 },
    );
  });

  it("brings keys and values in as many stages as asked, each before the tiles of the one before", () => {
    const schedule = compile(problemOf({ lengths: [64], ranks: 2 }), { stages: 3 });
    const groups = [...programOf(schedule, 1)].map((op) => ("group" in op ? op.group : "tile"));
    expect(groups.filter((group, i) => group !== groups[i - 1])).toEqual([0, "tile", 1, "tile", 2, "tile"]);
  });

  it("sends nothing where every document lies on one rank", () => {
    const schedule = compile(problemOf({ lengths: Array(16).fill(4), ranks: 2 }));
    expect(accountOf(schedule).receivedBytes.total).toBe(0);
  });

  it("gives each rank as many tokens, if chunks are equal", () => {
    expect(sizesOf(compile(problemOf({ lengths: [100, 28], ranks: 4 })).layout)).toEqual([32, 32, 32, 32]);
  });

  it.each([
    [{ stages: 0 }, "invalid stages: 0 (must be a whole number of at least 1)"],
    [{ chunksPerRank: 1.5 }, "invalid chunksPerRank: 1.5 (must be a whole number of at least 1)"],
  ])("refuses %j in one line", (options, message) => {
    expect(() => compile(problemOf({ lengths: [8], ranks: 2 }), options)).toThrow(message);
  });
});

/**
 * What MagiAttention's own planner gave for the project's packs (commit 2c64135, min-heap dispatch, static solver): one row
 * for each pack, MiB and GiB of keys and values received forward with 64 query heads, 8 kv heads, headDim 128 in bf16.
 */
const planned = readFileSync(new URL("../../workload/packs/planner-peer.csv", import.meta.url), "utf8")
  .trim()
  .split("\n")
  .slice(1)
  .map((line) => line.split(","));

describe("dispatch-groupcast beside MagiAttention's own planner", () => {
  it("is compared on all 24 packs", () => {
    expect(planned).toHaveLength(24);
  });

  it.each(planned)("has its balance and bytes on %s for %s ranks", (pack, ranks, ...numbers) => {
    const [, balance, meanMiB, maxMiB, , betweenNodesGiB] = numbers.map(Number);
    const account = accountOf(
      compile({
        batch: namedPack(`${pack}-${ranks}`),
        shape: { heads: 64, kvHeads: 8, headDim: 128, dtype: "bf16" },
        cluster: clusterOf({ ranks: Number(ranks), ranksPerNode: 8 }),
        mask: "causal",
        pass: "forward",
      }),
    );
    const within = (actual: number, expected: number) =>
      expect(Math.abs(actual - expected)).toBeLessThanOrEqual(0.005 * expected + 0.06);
    within(account.area.balance, balance);
    within(account.receivedBytes.mean / 2 ** 20, meanMiB);
    within(account.receivedBytes.max / 2 ** 20, maxMiB);
    within(account.betweenNodesBytes / 2 ** 30, betweenNodesGiB);
  });
});
