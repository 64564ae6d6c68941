import { clusterOf, presetCluster } from "@hsap/cluster";
import { InputError } from "@hsap/workload";
import { describe, expect, it } from "vitest";
import { hsap } from "../src/index.ts";
import { problemOf } from "./problems.ts";

const problem = (ranks: number, ranksPerNode: number, kvHeads = 4) =>
  problemOf({ lengths: [500, 300, 40], ranks, ranksPerNode, shape: { heads: 8, kvHeads } });

describe("degrees of hsap", () => {
  it("offers every way to split heads inside nodes or over whole nodes", () => {
    const offered = (ranks: number, ranksPerNode: number, kvHeads?: number) =>
      hsap.candidateDegrees(problem(ranks, ranksPerNode, kvHeads));
    expect(offered(8, 4)).toEqual([
      { ulysses: 1, sap: 8 },
      { ulysses: 2, sap: 4 },
      { ulysses: 4, sap: 2 },
      { ulysses: 8, sap: 1 },
    ]);
    expect(offered(8, 4, 1).map(({ ulysses }) => ulysses)).toEqual([1, 2, 4, 8]);
    expect(offered(8, 4, 8).map(({ ulysses }) => ulysses)).toEqual([1, 2, 4, 8]);
    expect(offered(6, 4)).toEqual([
      { ulysses: 1, sap: 6 },
      { ulysses: 2, sap: 3 },
    ]);
    expect(offered(3, 8)).toEqual([{ ulysses: 1, sap: 3 }]);
  });

  it("splits heads by default only where moving keys inside nodes would take longer than computing", () => {
    const [node, network] = presetCluster("h100-400g").levels;
    const slowNodes = { ...node, bandwidthGBps: 2 };
    const base = problemOf({
      lengths: [65536],
      ranks: 8,
      ranksPerNode: 8,
      shape: { heads: 64, kvHeads: 8, headDim: 128 },
    });
    const from = presetCluster("h100-400g");
    const fast = { ...base, cluster: clusterOf({ ranks: 8, ranksPerNode: 8, from }) };
    expect(hsap.defaultDegrees(fast)).toEqual({ ulysses: 1, sap: 8 });
    // On a link this slow keys for 8 kv heads and 65536 tokens cost more than queries and outputs of a rank's tokens.
    const wide = { ...fast, shape: { ...fast.shape, heads: 8 } };
    const slow = { ...wide, cluster: { ...fast.cluster, levels: [slowNodes, network] } };
    expect(hsap.defaultDegrees(slow).ulysses).toBeGreaterThan(1);
  });

  it("refuses degrees that cannot be, and says what could", () => {
    const refused = (degrees: Record<string, number>, options = {}) => {
      try {
        hsap.compile(problem(8, 4), degrees, options);
      } catch (error) {
        expect(error).toBeInstanceOf(InputError);
        return (error as Error).message;
      }
      return "accepted";
    };
    expect(refused({ ulysses: 2, sap: 3 })).toBe("invalid degrees: ulysses=2,sap=3 (must multiply to 8 ranks)");
    expect(refused({ ulysses: 8, sap: 1 })).toBe("accepted");
    const sixHeads = problemOf({ lengths: [50], ranks: 8, ranksPerNode: 8, shape: { heads: 12, kvHeads: 6 } });
    expect(() => hsap.compile(sixHeads, { ulysses: 8, sap: 1 })).toThrow("ulysses=8 (must divide 12 heads)");
    expect(() => hsap.compile(sixHeads, { ulysses: 4, sap: 2 })).toThrow(
      "invalid degree: ulysses=4 (must divide 6 kv heads or be a multiple of them)",
    );
    expect(refused({ ulysses: 0, sap: 8 })).toBe("invalid degree: ulysses=0 (must be a whole number of at least 1)");
    expect(refused({ ring: 8 })).toBe("unknown degree: ring (hsap has ulysses, sap)");
    expect(refused({ sap: 8 })).toBe("accepted");
    expect(refused({ ulysses: 1, sap: 8 }, { shard: "random" })).toBe(
      "invalid shard: random (must be balanced or contiguous)",
    );
    expect(refused({ ulysses: 1, sap: 8 }, { chunk: 3 })).toBe(
      "unknown option: chunk (hsap takes shard, split, rounds and place)",
    );
    expect(refused({ ulysses: 2, sap: 4 }, { split: "some" })).toBe(
      "invalid split: some (must be auto, nodes, all, or a number of ranks of at least 0)",
    );
    const threeRanks = () => hsap.compile(problem(6, 4), { ulysses: 4, sap: 1.5 });
    expect(threeRanks).toThrow("invalid degree: sap=1.5 (must be a whole number of at least 1)");
    expect(() => hsap.compile(problem(12, 8), { ulysses: 4, sap: 3 })).not.toThrow();
    expect(() => hsap.compile(problem(10, 8), { ulysses: 2, sap: 5 })).not.toThrow();
    const border = problemOf({ lengths, ranks: 12, ranksPerNode: 6, shape: { heads: 8, kvHeads: 4 } });
    expect(() => hsap.compile(border, { ulysses: 4, sap: 3 })).toThrow(
      "invalid degree: ulysses=4 (must divide the 6 ranks of each node)",
    );
  });
});

const lengths = [500, 300, 40];
