import { verify } from "@hsap/schedule";
import { tokensOf } from "@hsap/workload";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { hierarchyOf } from "../src/hierarchy.ts";
import { hsap } from "../src/index.ts";
import { needsOf, place } from "../src/place/place.ts";
import { tile } from "../src/place/tile.ts";
import { handedOnTo } from "../src/route/hop.ts";
import { messagesByRound } from "../src/route/message.ts";
import { type Routing, route } from "../src/route/route.ts";
import { piecesByOwner, shard } from "../src/shard/shard.ts";
import { stage } from "../src/stage/stage.ts";
import { type ProblemOptions, problemOf } from "./problems.ts";
import { replay } from "./replay.ts";

/** All passes up to staging, for problems without a head split. */
function plan(options: ProblemOptions, kind: "balanced" | "contiguous" = "balanced") {
  const problem = problemOf(options);
  const hierarchy = hierarchyOf(problem, { ulysses: 1, sap: options.ranks });
  const sharding = shard(problem, hierarchy, kind);
  const placement = place(sharding, tile(problem, sharding));
  const routing = route(sharding, placement, hierarchy);
  const rounds = messagesByRound(stage(routing, placement, options.ranks, problem.pass, Number.POSITIVE_INFINITY));
  const needs = needsOf(placement);
  return { problem, hierarchy, sharding: piecesByOwner(sharding), needs, routing: asObjects(routing), rounds };
}

/** The rows of a routing, which the passes hand on as columns. */
function asObjects({ within, between }: Routing) {
  const rows = ({ length }: { length: number }) => Array.from({ length }, (_, row) => row);
  return {
    within: rows(within).map((row) => ({
      ...{ from: within.from[row], to: within.to[row] },
      ...{ document: within.document[row], begin: within.begin[row], end: within.end[row] },
    })),
    between: rows(between).map((row) => ({
      ...{ owner: between.owner[row], from: between.from[row], to: between.to[row] },
      ...{ document: between.document[row], begin: between.begin[row], end: between.end[row] },
      handOnTo: handedOnTo(between, row),
    })),
  };
}

const never = 2 ** 30;

const anyOptions = fc.record({
  lengths: fc.array(fc.integer({ min: 1, max: 3000 }), { minLength: 1, maxLength: 12 }),
  ranks: fc.integer({ min: 1, max: 24 }),
  ranksPerNode: fc.integer({ min: 1, max: 8 }),
  mask: fc.constantFrom("causal" as const, "full" as const),
  pass: fc.constantFrom("forward" as const, "backward" as const),
});

describe("place", () => {
  it("needs of a document the keys up to the last own row, less the own ones", () => {
    const { needs } = plan({ lengths: [40, 4], ranks: 2, ranksPerNode: 2 }, "contiguous");
    expect(needs).toEqual([{ unit: 1, document: 0, begin: 0, end: 22 }]);
  });

  it("needs all keys of a document when its mask is full", () => {
    const { needs } = plan({ lengths: [40, 4], ranks: 2, ranksPerNode: 2, mask: "full" }, "contiguous");
    expect(needs).toEqual([
      { unit: 0, document: 0, begin: 22, end: 40 },
      { unit: 1, document: 0, begin: 0, end: 22 },
    ]);
  });
});

describe("route", () => {
  it("brings every unit exactly what it needs, across to a node once and handed on inside", () => {
    fc.assert(
      fc.property(anyOptions, (options) => {
        const { needs, routing, hierarchy } = plan(options);
        const brought = new Map<number, number>();
        const bring = (unit: number, tokens: number) => brought.set(unit, (brought.get(unit) ?? 0) + tokens);
        for (const { to, begin, end } of routing.within) bring(to, end - begin);
        for (const { from, to, handOnTo, begin, end } of routing.between) {
          expect(hierarchy.nodeOfUnit[from]).not.toBe(hierarchy.nodeOfUnit[to]);
          for (const unit of [to, ...handOnTo]) {
            expect(hierarchy.nodeOfUnit[unit]).toBe(hierarchy.nodeOfUnit[to]);
            bring(unit, end - begin);
          }
        }
        const needed = new Map<number, number>();
        for (const { unit, begin, end } of needs) {
          needed.set(unit, (needed.get(unit) ?? 0) + end - begin);
        }
        expect([...brought].sort(([a], [b]) => a - b)).toEqual([...needed].sort(([a], [b]) => a - b));
      }),
    );
  });

  it("spreads what enters a node evenly over units that all need it", () => {
    const { routing } = plan({ lengths: [64000], ranks: 16, ranksPerNode: 4 });
    const taken = new Map<number, number>();
    for (const { to, begin, end } of routing.between) taken.set(to, (taken.get(to) ?? 0) + end - begin);
    for (let node = 0; node < 4; node++) {
      const tokens = [0, 1, 2, 3].map((place) => taken.get(4 * node + place) ?? 0);
      const mean = tokens.reduce((a, b) => a + b) / 4;
      expect(Math.max(...tokens)).toBeLessThanOrEqual(1.1 * mean);
    }
  });
});

describe("sharing the sending", () => {
  const options = { lengths: [67, 64, 44, 48, 58, 51], ranks: 13, ranksPerNode: 6 };

  it("lets units that hold a piece send it for an owner that has much to send, after they got it", () => {
    const { routing, rounds, hierarchy } = plan(options);
    const relayed = routing.between.filter(({ owner, from }) => owner !== from);
    expect(relayed.length).toBeGreaterThan(0);
    for (const { owner, from, begin, end } of relayed) {
      expect(hierarchy.nodeOfUnit[from]).toBe(hierarchy.nodeOfUnit[owner]);
      const hops = routing.within.filter((hop) => hop.from === owner && hop.to === from);
      expect(hops.some((hop) => hop.begin <= begin && hop.end >= end)).toBe(true);
    }
    const isCrossing = ({ from, to }: { from: number; to: number }) =>
      hierarchy.nodeOfUnit[from] !== hierarchy.nodeOfUnit[to];
    expect(rounds[0].some(isCrossing)).toBe(false);
  });

  it("adds up gradients along the same ways", () => {
    const problem = problemOf({ ...options, pass: "backward" });
    const schedule = hsap.compile(problem, { ulysses: 1, sap: options.ranks });
    expect(verify(schedule)).toEqual([]);
    replay(schedule);
  });

  it("never gives a unit more to send than the busiest owner had", () => {
    fc.assert(
      fc.property(anyOptions, (any) => {
        const { routing } = plan(any);
        const most = (sender: "owner" | "from") => {
          const load = new Map<number, number>();
          for (const crossing of routing.between) {
            const unit = crossing[sender];
            load.set(unit, (load.get(unit) ?? 0) + crossing.end - crossing.begin);
          }
          return Math.max(0, ...load.values());
        };
        expect(most("from")).toBeLessThanOrEqual(most("owner"));
      }),
    );
  });
});

describe("stage", () => {
  it("lets a unit send at most one message to other nodes in a round, and receive at most one", () => {
    fc.assert(
      fc.property(anyOptions, (options) => {
        const { rounds, hierarchy } = plan({ ...options, pass: "forward" });
        for (const messages of rounds) {
          const crossings = messages.filter(({ from, to }) => hierarchy.nodeOfUnit[from] !== hierarchy.nodeOfUnit[to]);
          expect(new Set(crossings.map(({ from }) => from)).size).toBe(crossings.length);
          expect(new Set(crossings.map(({ to }) => to)).size).toBe(crossings.length);
        }
      }),
    );
  });

  it("hands a piece on in a later round than it arrives in, and tells gradients for owners from those to add up on the way", () => {
    fc.assert(
      fc.property(anyOptions, (options) => {
        const { problem, rounds, sharding } = plan({ ...options, pass: "backward" });
        const tokens = tokensOf(problem.batch);
        // The round in which each unit gets each token; what it owns it has from the start.
        const arrival = sharding.map((pieces) => {
          const rounds = new Int32Array(tokens).fill(never);
          for (const { begin, end } of pieces) rounds.fill(-1, begin, end);
          return rounds;
        });
        const owns = (unit: number, token: number) => arrival[unit][token] === -1;
        rounds.forEach((messages, round) => {
          for (const { from, to, data, gradients } of messages) {
            for (const { begin, end } of data) {
              expect(Math.max(arrival[from][begin], arrival[from][end - 1])).toBeLessThan(round);
              arrival[to].fill(round, begin, end);
            }
            for (const { begin, toOwner } of gradients) {
              expect(toOwner).toBe(owns(to, begin));
              expect(owns(from, begin)).toBe(false);
            }
          }
        });
      }),
    );
  });
});
