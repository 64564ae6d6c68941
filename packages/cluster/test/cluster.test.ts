import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  type Cluster,
  levelBetween,
  nodeOf,
  nodesOf,
  presetCluster,
  ranksOfNode,
  ranksPerNode,
  spansOf,
  worldSize,
} from "../src/index.ts";

const link = { bandwidthGBps: 1, latencyUs: 1 };
const { device } = presetCluster("local");

/** Two pods of two nodes of four ranks, the last node half used. */
const pods: Cluster = {
  name: "pods",
  levels: [
    { name: "node", size: 4, ...link },
    { name: "pod", size: 2, ...link },
    { name: "spine", size: 2, ...link },
  ],
  ranks: 14,
  device,
};

describe("a cluster", () => {
  it("counts its ranks and nodes, the last one partly used", () => {
    expect([worldSize(pods), ranksPerNode(pods), nodesOf(pods)]).toEqual([14, 4, 4]);
  });

  it("places consecutive ranks in one node", () => {
    expect(Array.from({ length: 14 }, (_, rank) => nodeOf(pods, rank))).toEqual([
      0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3,
    ]);
    expect([0, 1, 2, 3].map((node) => ranksOfNode(pods, node))).toEqual([
      [0, 1, 2, 3],
      [4, 5, 6, 7],
      [8, 9, 10, 11],
      [12, 13],
    ]);
  });

  it("joins two ranks by the innermost level that holds both", () => {
    expect(levelBetween(pods, 0, 3)).toBe(0);
    expect(levelBetween(pods, 3, 4)).toBe(1);
    expect(levelBetween(pods, 7, 8)).toBe(2);
    expect(levelBetween(pods, 12, 13)).toBe(0);
  });

  it("joins two ranks at level 0 just when they share a node, whichever comes first", () => {
    const rank = fc.integer({ min: 0, max: 13 });
    fc.assert(
      fc.property(rank, rank, (a, b) => {
        fc.pre(a !== b);
        expect(levelBetween(pods, a, b) === 0).toBe(nodeOf(pods, a) === nodeOf(pods, b));
        expect(levelBetween(pods, a, b)).toBe(levelBetween(pods, b, a));
      }),
    );
  });

  it("spans the product of the sizes up to each level", () => {
    expect(spansOf(pods.levels)).toEqual([4, 8, 16]);
  });

  it.each([-1, 14, 1.5])("has no rank %d", (rank) => {
    expect(() => nodeOf(pods, rank)).toThrow(`invalid rank: ${rank} (the cluster has 14)`);
    expect(() => levelBetween(pods, 0, rank)).toThrow(RangeError);
  });

  it.each([-1, 4])("has no node %d", (node) => {
    expect(() => ranksOfNode(pods, node)).toThrow(`invalid node: ${node} (the cluster has 4)`);
  });

  it("has no link from a rank to itself", () => {
    expect(() => levelBetween(pods, 3, 3)).toThrow("no level: rank 3 to itself (needs two ranks)");
  });
});
