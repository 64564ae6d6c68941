import type { Pass, Strategy, StrategyOptions } from "@hsap/schedule";
import { describe, expect, it } from "vitest";
import { baselines, ring, striped, zigzagPerDocument } from "../src/index.ts";
import { problemOf } from "./problems.ts";

const packs = {
  "documents of many lengths": [90, 41, 7, 1, 30, 13],
  "one document": [150],
  "documents shorter than 2P": Array.from({ length: 30 }, (_, i) => 1 + (i % 7)),
};

const cases: [string, Strategy, StrategyOptions][] = [
  ["zigzag-per-document", zigzagPerDocument, {}],
  ["striped", striped, {}],
  ["striped in single tokens", striped, { stripe: 1 }],
  ["striped in single tokens without borders", striped, { stripe: 1, ignoreBorders: true }],
];

describe.each(cases)("the estimated operands of %s", (_, strategy, options) => {
  it.each(Object.entries(packs))("are those of the schedule within a factor of 2 for %s", (_, lengths) => {
    for (const ranks of [4, 8]) {
      for (const pass of ["forward", "backward"] as Pass[]) {
        const problem = problemOf({ lengths, ranks, pass });
        const { ops } = strategy.compile(problem, strategy.defaultDegrees(problem), options);
        const estimated = strategy.estimatedOperands?.(problem, options) ?? Number.NaN;
        expect(estimated / ops.operands.length).toBeGreaterThan(0.5);
        expect(estimated / ops.operands.length).toBeLessThan(2);
      }
    }
  });
});

describe("an estimate", () => {
  it("is there for the strategies whose schedules can be too large to be made", () => {
    const names = baselines.filter(({ estimatedOperands }) => estimatedOperands).map(({ name }) => name);
    expect(names).toEqual(["zigzag-per-document", "striped"]);
    expect(ring.estimatedOperands).toBeUndefined();
  });

  it("grows beyond any machine for thousands of documents on many ranks", () => {
    const problem = problemOf({ lengths: new Array(2000).fill(200), ranks: 64 });
    expect(zigzagPerDocument.estimatedOperands?.(problem)).toBeGreaterThan(1e8);
  });
});
