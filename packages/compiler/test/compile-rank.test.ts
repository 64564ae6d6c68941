import { programOf, type Schedule } from "@hsap/schedule";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { compileRank, hsap } from "../src/index.ts";
import { problemOf } from "./problems.ts";

describe("compileRank", () => {
  it("gives each rank the very program that it has in the whole schedule, and leaves the others empty", () => {
    fc.assert(
      fc.property(anyProblem, fc.nat(), (options, choice) => {
        const problem = problemOf(options);
        const candidates = hsap.candidateDegrees(problem);
        const degrees = candidates[choice % candidates.length];
        const whole = hsap.compile(problem, degrees);
        for (let rank = 0; rank < options.ranks; rank++) {
          const own = compileRank(problem, degrees, rank);
          expect([...programOf(own, rank)]).toEqual([...programOf(whole, rank)]);
          expect(own.ops.kind.length).toBe(whole.opBegin[rank + 1] - whole.opBegin[rank]);
          expect(commonOf(own)).toEqual(commonOf(whole));
        }
      }),
      { numRuns: 60 },
    );
  });

  it("refuses a rank that does not exist", () => {
    const problem = problemOf({ lengths: [20], ranks: 4, ranksPerNode: 2 });
    const degrees = { ulysses: 1, sap: 4 };
    expect(() => compileRank(problem, degrees, 4)).toThrow("invalid rank: 4 (must be a whole number below 4)");
    expect(() => compileRank(problem, degrees, -1)).toThrow("invalid rank: -1 (must be a whole number below 4)");
  });
});

/** What all ranks must agree on. */
const commonOf = ({ strategy, degrees, layout, tensors, resident }: Schedule) => ({
  ...{ strategy, degrees, layout, tensors, resident },
});

const anyProblem = fc.record({
  lengths: fc.array(fc.oneof(fc.integer({ min: 1, max: 8 }), fc.integer({ min: 1, max: 3000 })), {
    minLength: 1,
    maxLength: 10,
  }),
  ranks: fc.integer({ min: 1, max: 12 }),
  ranksPerNode: fc.integer({ min: 1, max: 4 }),
  pass: fc.constantFrom("forward" as const, "backward" as const),
});
