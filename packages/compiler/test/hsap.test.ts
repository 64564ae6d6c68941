import fc from "fast-check";
import { describe, it } from "vitest";
import { hsap } from "../src/index.ts";
import { problemOf } from "./problems.ts";
import { replay } from "./replay.ts";

const lengths = [40, 1, 7, 3, 25, 2, 2, 11];

describe("hsap", () => {
  for (const pass of ["forward", "backward"] as const) {
    for (const shard of ["balanced", "contiguous"]) {
      for (const ranksPerNode of [1, 2, 4, 8]) {
        it(`computes every pair once and every result at its owner: ${pass}, ${shard}, ${ranksPerNode} ranks in a node`, () => {
          for (const ranks of [1, 2, 3, 4, 5, 6, 8, 12, 16]) {
            const problem = problemOf({ lengths, ranks, ranksPerNode, pass, shape: { heads: 8, kvHeads: 4 } });
            for (const degrees of hsap.candidateDegrees(problem)) replay(hsap.compile(problem, degrees, { shard }));
          }
        });
      }
    }
  }

  it("computes every pair once on any packs, shapes, clusters, masks and degrees", () => {
    fc.assert(
      fc.property(anyProblem, fc.constantFrom("balanced", "contiguous"), fc.nat(), (options, shard, choice) => {
        const problem = problemOf(options);
        const candidates = hsap.candidateDegrees(problem);
        replay(hsap.compile(problem, candidates[choice % candidates.length], { shard }));
      }),
      { numRuns: 150 },
    );
  });
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
