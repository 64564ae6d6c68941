import { type Degrees, type Problem, verify } from "@hsap/schedule";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { hsap } from "../src/index.ts";
import { problemOf } from "./problems.ts";
import { replay } from "./replay.ts";
import { wasteOf } from "./traffic.ts";

const lengths = [40, 1, 7, 3, 25, 2, 2, 11];
const noWaste = { enteredAgain: 0, leftAgain: 0, receivedAgain: 0, unread: 0 };

describe("hsap", () => {
  for (const pass of ["forward", "backward"] as const) {
    for (const shard of ["balanced", "contiguous"]) {
      for (const ranksPerNode of [1, 2, 4, 8]) {
        it(`passes the verifier and wastes nothing: ${pass}, ${shard}, ${ranksPerNode} ranks in a node`, () => {
          for (const ranks of [1, 2, 3, 4, 6, 8, 12, 16]) {
            const problem = problemOf({ lengths, ranks, ranksPerNode, pass, shape: { heads: 8, kvHeads: 4 } });
            for (const degrees of hsap.candidateDegrees(problem)) {
              const schedule = hsap.compile(problem, degrees, { shard });
              expect(verify(schedule), `${ranks} ranks, ulysses ${degrees.ulysses}`).toEqual([]);
              if (!sharesKvHeads(problem, degrees))
                expect(wasteOf(schedule), `${ranks} ranks, ulysses ${degrees.ulysses}`).toEqual(noWaste);
            }
          }
        });
      }
    }
  }

  it("computes every pair once and every result at its owner, whatever the packs, shapes, clusters, masks and degrees", () => {
    fc.assert(
      fc.property(anyProblem, anyOptions, fc.nat(), (given, options, choice) => {
        const problem = problemOf(given);
        const candidates = hsap.candidateDegrees(problem);
        const degrees = candidates[choice % candidates.length];
        const schedule = hsap.compile(problem, degrees, options);
        expect(verify(schedule)).toEqual([]);
        if (!sharesKvHeads(problem, degrees)) expect(wasteOf(schedule)).toEqual(noWaste);
        replay(schedule);
      }),
      { numRuns: 120 },
    );
  });

  it("shards contiguously as even ranges of the batch", () => {
    const problem = problemOf({ lengths, ranks: 4, ranksPerNode: 2 });
    const { layout } = hsap.compile(problem, { ulysses: 2, sap: 2 }, { shard: "contiguous" });
    expect(layout).toEqual([0, 23, 46, 69].map((begin, rank) => [{ begin, end: [23, 46, 69, 91][rank] }]));
  });

  it("moves nothing when documents can stay whole", () => {
    const problem = problemOf({ lengths: [8, 8, 8, 8], ranks: 4, ranksPerNode: 2, pass: "backward" });
    const schedule = hsap.compile(problem, { ulysses: 1, sap: 4 });
    expect([...schedule.ops.group].every((group) => group === -1)).toBe(true);
  });
});

/** Lanes that share a kv head each receive it, which counts as waste. */
const sharesKvHeads = ({ shape }: Problem, { ulysses }: Degrees): boolean => ulysses > shape.kvHeads;

const anyOptions = fc.record({
  shard: fc.constantFrom("balanced", "contiguous"),
  split: fc.constantFrom<string | number>("auto", "nodes", "all", 1, 0.4),
  place: fc.constantFrom("auto", "queries", "keys", "grid"),
  rounds: fc.constantFrom(1, 2, 5),
});

const anyProblem = fc.record({
  lengths: fc.array(fc.oneof(fc.integer({ min: 1, max: 6 }), fc.integer({ min: 1, max: 70 })), {
    minLength: 1,
    maxLength: 8,
  }),
  ranks: fc.integer({ min: 1, max: 16 }),
  ranksPerNode: fc.integer({ min: 1, max: 8 }),
  shape: fc
    .tuple(fc.constantFrom(1, 2, 3, 4), fc.constantFrom(1, 2))
    .map(([kvHeads, groupSize]) => ({ kvHeads, heads: kvHeads * groupSize })),
  mask: fc.constantFrom("causal" as const, "full" as const),
  pass: fc.constantFrom("forward" as const, "backward" as const),
});
