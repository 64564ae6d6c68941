import { clusterOf, presetCluster } from "@hsap/cluster";
import { accountOf, type Problem, programOf, type Schedule, verify, worldSizeOf } from "@hsap/schedule";
import { packedBatch } from "@hsap/workload";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { choosePlan, hsap } from "../src/index.ts";
import { problemOf } from "./problems.ts";
import { replay } from "./replay.ts";
import { wasteOf } from "./traffic.ts";

const places = ["keys", "grid"] as const;

const anyProblem = fc.record({
  lengths: fc.array(fc.integer({ min: 1, max: 100 }), { minLength: 1, maxLength: 4 }),
  ranks: fc.integer({ min: 2, max: 20 }),
  ranksPerNode: fc.constantFrom(1, 1, 2, 3, 4),
  shape: fc
    .tuple(fc.constantFrom(1, 2, 4), fc.constantFrom(1, 3))
    .map(([kvHeads, groupSize]) => ({ kvHeads, heads: kvHeads * groupSize })),
  mask: fc.constantFrom("causal" as const, "full" as const),
  pass: fc.constantFrom("forward" as const, "backward" as const),
});

describe("tiles that are not computed by the owners of their queries", () => {
  it("are each computed once, with nothing sent for nothing, whatever the lengths, ranks, heads and rounds", () => {
    fc.assert(
      fc.property(
        anyProblem,
        fc.constantFrom(...places),
        fc.nat(),
        fc.constantFrom(1, 3),
        (given, place, of, rounds) => {
          const problem = problemOf(given);
          const candidates = hsap.candidateDegrees(problem);
          const degrees = candidates[of % candidates.length];
          const schedule = hsap.compile(problem, degrees, { place, rounds });
          expect(verify(schedule)).toEqual([]);
          if (degrees.ulysses <= problem.shape.kvHeads) {
            expect(wasteOf(schedule)).toEqual({ enteredAgain: 0, leftAgain: 0, receivedAgain: 0, unread: 0 });
          }
          replay(schedule);
        },
      ),
      { numRuns: 40 },
    );
  });

  it("leave every rank as much area as its own queries have, within half a percent", () => {
    for (const ranks of [5, 8, 12, 16]) {
      for (const place of places) {
        const problem = problemOf({ lengths: [20011, 9001, 333, 47], ranks, ranksPerNode: 1 });
        const area = (options: { place: string }) =>
          accountOf(hsap.compile(problem, { ulysses: 1, sap: ranks }, { split: "nodes", ...options })).area.balance;
        expect(area({ place })).toBeLessThan(1.005 * area({ place: "queries" }));
      }
    }
  });

  it("make the same schedule again", () => {
    const problem = problemOf({ lengths: [5000, 700], ranks: 9, ranksPerNode: 1, pass: "backward" });
    const compile = () => hsap.compile(problem, { ulysses: 1, sap: 9 }, { place: "grid" });
    expect(compile()).toEqual(compile());
  });
});

describe("tokens that have to stay where they lie", () => {
  const compile = (ranks: number, ulysses: number, place: string, pass: "forward" | "backward" = "forward") =>
    hsap.compile(
      problemOf({ lengths: [ranks * 2048 - 77], ranks, ranksPerNode: 4, pass, shape: { heads: 8, kvHeads: 4 } }),
      { ulysses, sap: ranks / ulysses },
      { shard: "contiguous", place },
    );

  it("are computed evenly all the same: the area of one document is balanced where it is up to twice the mean otherwise", () => {
    for (const [ranks, ulysses] of [
      [8, 1],
      [12, 1],
      [16, 4],
      [20, 2],
    ] as const) {
      for (const pass of ["forward", "backward"] as const) {
        const schedule = compile(ranks, ulysses, "auto", pass);
        expect(verify(schedule)).toEqual([]);
        expect(accountOf(schedule).area.balance).toBeLessThan(1.02);
        expect(accountOf(compile(ranks, ulysses, "queries", pass)).area.balance).toBeGreaterThan(1.7);
        expect(schedule.layout).toEqual(compile(ranks, ulysses, "queries", pass).layout);
      }
    }
  });

  it("are computed by third ranks too, which hold nothing of a document that is too much for those that do", () => {
    const lengths = [6000, ...new Array(120).fill(50)];
    const problem = problemOf({
      lengths,
      ranks: 8,
      ranksPerNode: 8,
      pass: "backward",
      shape: { heads: 8, kvHeads: 8 },
    });
    const compile = (place: string) => hsap.compile(problem, { ulysses: 1, sap: 8 }, { shard: "contiguous", place });
    const schedule = compile("auto");
    expect(verify(schedule)).toEqual([]);
    expect(accountOf(schedule).area.balance).toBeLessThan(0.6 * accountOf(compile("queries")).area.balance);
    const holds = schedule.layout.map((ranges) => ranges.some(({ begin }) => begin < lengths[0]));
    const computes = schedule.layout.map((_, rank) =>
      [...programOf(schedule, rank)].some((op) => op.kind === "attend" && op.blocks[0].tokenBegin < lengths[0]),
    );
    expect(computes.some((does, rank) => does && !holds[rank])).toBe(true);
  });
});

describe("bytes between nodes of one document whose mask is full", () => {
  const ranks = 16;
  const tokens = 1600;
  const share = tokens / ranks;
  const heads = 6;
  const shape = { heads, kvHeads: heads, headDim: 8, dtype: "fp32" } as const;
  const row = shape.headDim * 4;
  /** A key and value, and their gradients if they return; a query, with what its tiles need besides, and its result. */
  const bytes = {
    forward: { key: heads * 2 * row, query: heads * (row + row + 4) },
    backward: { key: heads * 4 * row, query: heads * (2 * row + 2 * 4 + row) },
  };

  for (const pass of ["forward", "backward"] as const) {
    const { key, query } = bytes[pass];
    const between = (place: string) => {
      const problem = problemOf({ lengths: [tokens], ranks, ranksPerNode: 1, shape, mask: "full", pass });
      return accountOf(hsap.compile(problem, { ulysses: 1, sap: ranks }, { place })).betweenNodesBytes;
    };

    it(`are all keys on every other rank if tiles stay with their queries: ${pass}`, () => {
      expect(between("queries")).toBe(ranks * (ranks - 1) * share * key);
    });

    it(`are all queries on every other rank if tiles stay with their keys: ${pass}`, () => {
      expect(between("keys")).toBe(ranks * (ranks - 1) * share * query);
    });

    it(`are those of a row and of a column of a grid of 4 by 4: ${pass}`, () => {
      expect(between("grid")).toBe(ranks * 3 * share * (query + key));
    });
  }
});

describe("where tiles are computed by default", () => {
  const problem = (kvHeads: number): Problem => ({
    batch: packedBatch([64 * 8192]),
    shape: { heads: 64, kvHeads, headDim: 128, dtype: "bf16" },
    cluster: clusterOf({ ranks: 64, ranksPerNode: 8, from: presetCluster("h100-400g") }),
    mask: "causal",
    pass: "forward",
  });
  const degrees = { ulysses: 8, sap: 8 };
  const compile = (kvHeads: number, place: string) => hsap.compile(problem(kvHeads), degrees, { place });

  it("is with their queries where 8 kv heads are read by 64: the schedule is that of place=queries", () => {
    expect(compile(8, "auto")).toEqual(compile(8, "queries"));
    expect(queriesTravel(compile(8, "auto"))).toBe(false);
  });

  it("is in two dimensions where 32 kv heads are: fewer bytes enter nodes, and the plan is predicted to take less", () => {
    expect(queriesTravel(compile(32, "auto"))).toBe(true);
    expect(queriesTravel(compile(32, "queries"))).toBe(false);
    const bytes = (place: string) => accountOf(compile(32, place)).betweenNodesBytes;
    expect(bytes("auto")).toBeLessThan(0.85 * bytes("queries"));
    const us = (place: "auto" | "queries") => choosePlan(problem(32), degrees, place).best.prediction.us;
    expect(us("auto")).toBeLessThan(us("queries"));
  });
});

/** Whether any rank sends queries outside of all-to-alls. */
function queriesTravel(schedule: Schedule): boolean {
  return Array.from({ length: worldSizeOf(schedule) }, (_, rank) => [...programOf(schedule, rank)]).some((ops) =>
    ops.some((op) => op.kind === "send" && op.groupKind === "p2p" && op.blocks.some(({ tensor }) => tensor === "q")),
  );
}
