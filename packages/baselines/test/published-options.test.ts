import { clusterOf, presetCluster } from "@hsap/cluster";
import { accountOf, type Pass, type Problem, type Strategy, type StrategyOptions, verify } from "@hsap/schedule";
import { packedBatch } from "@hsap/workload";
import { describe, expect, it } from "vitest";
import { allgather, dispatchGroupcast, loongtrain, usp } from "../src/index.ts";

function problemOf(lengths: readonly number[], ranks: number, pass: Pass): Problem {
  const cluster = clusterOf({ ranks, ranksPerNode: 4, from: presetCluster("h100-400g") });
  const shape = { heads: 8, kvHeads: 4, headDim: 8, dtype: "fp32" } as const;
  return { batch: packedBatch(lengths), shape, cluster, mask: "causal", pass };
}

const perDocument = { shards: "zigzag-per-document" };

/** Options that make a strategy run as its published implementation does. */
const variants: readonly (readonly [Strategy, Record<string, number>, StrategyOptions])[] = [
  [allgather, { allgather: 8 }, perDocument],
  [usp, { ulysses: 2, ring: 4 }, perDocument],
  [loongtrain, { ulysses: 2, inner: 2, outer: 2 }, { ...perDocument, outer: "first", gradients: "circles" }],
  [loongtrain, { ulysses: 1, inner: 4, outer: 2 }, { gradients: "circles" }],
  [loongtrain, { ulysses: 8, inner: 1, outer: 1 }, { gradients: "circles" }],
  [dispatchGroupcast, { dispatch: 8 }, { transport: "groupcast" }],
];

describe("strategies run as published", () => {
  it("break no rule, on one document and on a pack, forward and backward", () => {
    for (const [strategy, degrees, options] of variants) {
      for (const pass of ["forward", "backward"] as const) {
        for (const lengths of [[512], [7, 100, 1, 300, 64, 40]]) {
          const schedule = strategy.compile(problemOf(lengths, 8, pass), degrees, options);
          expect(verify(schedule), `${strategy.name} ${JSON.stringify(options)} ${pass}`).toEqual([]);
        }
      }
    }
  });

  it("are balanced on packs where every document is cut by itself", () => {
    for (const [strategy, degrees, options] of variants.slice(0, 3)) {
      const problem = problemOf([1024, 512, 256, 2048, 256], 8, "forward");
      const { balance } = accountOf(strategy.compile(problem, degrees, options)).area;
      expect(balance, strategy.name).toBeLessThan(1.01);
      expect(accountOf(strategy.compile(problem, degrees, {})).area.balance, strategy.name).toBeGreaterThan(1.1);
    }
  });

  it("send gradients twice as often round loongtrain's rings of two as need be", () => {
    const problem = problemOf([512], 8, "backward");
    const bytes = (gradients: string) =>
      accountOf(loongtrain.compile(problem, { ulysses: 2, inner: 2, outer: 2 }, { gradients })).receivedBytes.mean;
    // Rings of 2 x 2: keys and values make 3 hops; gradients 3 hops, or 2 * 2 + 2. A hop is a piece of half of the kv heads.
    const hop = (512 / 4) * 2 * 2 * 8 * 4;
    expect(bytes("circles") - bytes("direct")).toBe(3 * hop);
  });

  it("refuse options that they do not know", () => {
    const problem = problemOf([512], 8, "backward");
    expect(() => usp.compile(problem, { ulysses: 2, ring: 4 }, { shards: "even" })).toThrow(
      "unknown shards: even (usp has zigzag and zigzag-per-document)",
    );
    expect(() => dispatchGroupcast.compile(problem, { dispatch: 8 }, { transport: "fax" })).toThrow(
      "unknown transport: fax (dispatch-groupcast has allToAll and groupcast)",
    );
    const degrees = { ulysses: 2, inner: 2, outer: 2 };
    expect(() => loongtrain.compile(problem, degrees, { gradients: "none" })).toThrow(
      "unknown gradients: none (loongtrain has direct and circles)",
    );
    expect(() => loongtrain.compile(problem, degrees, { outer: "never" })).toThrow(
      "unknown outer: never (loongtrain has last and first)",
    );
  });
});
