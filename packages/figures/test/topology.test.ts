import { clusterOf, presetCluster, presetNames } from "@hsap/cluster";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { drawTopology } from "../src/index.ts";
import { placeRanks } from "../src/topology/hierarchy.ts";
import { mechanismsOf } from "../src/topology/mechanisms.ts";
import { marksOf, textBoxes } from "./drawn.ts";

const twoNodes = clusterOf({ ranks: 8, ranksPerNode: 4 });
const degrees = [
  { name: "ulysses", size: 2 },
  { name: "sap", size: 4 },
];

describe("mechanisms", () => {
  it("take neighbours first and stride over them next", () => {
    const [ulysses, sap] = mechanismsOf(twoNodes, degrees);
    expect(ulysses.groups).toEqual([
      [0, 1],
      [2, 3],
      [4, 5],
      [6, 7],
    ]);
    expect(sap.groups).toEqual([
      [0, 2, 4, 6],
      [1, 3, 5, 7],
    ]);
  });

  it("name the outermost link that a group crosses", () => {
    expect(mechanismsOf(twoNodes, degrees).map(({ level }) => level)).toEqual([0, 1]);
    expect(mechanismsOf(clusterOf({ ranks: 1 }), [{ name: "sap", size: 1 }])[0].level).toBeUndefined();
  });

  it("put every rank in one group each", () => {
    const sizes = fc.array(fc.integer({ min: 1, max: 4 }), { minLength: 1, maxLength: 4 });
    fc.assert(
      fc.property(sizes, (some) => {
        const ranks = some.reduce((product, size) => product * size, 1);
        const cluster = clusterOf({ ranks, ranksPerNode: Math.min(4, ranks) });
        for (const { groups, size } of mechanismsOf(
          cluster,
          some.map((of, i) => ({ name: `m${i}`, size: of })),
        )) {
          expect(groups.every((group) => group.length === size)).toBe(true);
          expect(groups.flat().sort((a, b) => a - b)).toEqual(Array.from({ length: ranks }, (_, rank) => rank));
        }
      }),
    );
  });
});

describe("the hierarchy on a line", () => {
  it("leaves out whole nodes of a cluster that is too large, and says how many ranks", () => {
    const { ranks, gaps } = placeRanks(clusterOf({ ranks: 1024, from: presetCluster("h100-400g") }), 400);
    expect(ranks.length + gaps.reduce((sum, { left }) => sum + left, 0)).toBe(1024);
    expect(ranks.length % 8).toBe(0);
    expect(ranks.at(-1)?.rank).toBe(1023);
    expect(Math.max(...ranks.map(({ x }) => x))).toBeLessThanOrEqual(400);
  });

  it("keeps ranks in order and apart", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 300 }), fc.integer({ min: 1, max: 16 }), (ranks, ranksPerNode) => {
        const placed = placeRanks(clusterOf({ ranks, ranksPerNode }), 400);
        const steps = placed.ranks.slice(1).map(({ x }, i) => x - placed.ranks[i].x);
        expect(Math.min(placed.cell, ...steps)).toBeGreaterThan(placed.cell * 0.999);
        expect(Math.max(...placed.ranks.map(({ x }) => x)) + placed.cell / 2).toBeLessThanOrEqual(400.001);
      }),
    );
  });
});

describe("figure 4", () => {
  const { svg, data } = drawTopology({ cluster: twoNodes, strategy: "hsap", degrees });

  it("has a box for each rank and each node, and a dot for each rank in each mechanism", () => {
    expect(marksOf(svg, "rect", "rect")).toHaveLength(8 + 2);
    expect(marksOf(svg, "dot", "circle")).toHaveLength(2 * 8);
  });

  it.each(presetNames())("states bandwidth and latency of every link of %s", (name) => {
    const cluster = presetCluster(name);
    const figure = drawTopology({ cluster, strategy: "ring", degrees: [{ name: "ring", size: cluster.ranks }] });
    const texts = textBoxes(figure.svg).map(({ text }) => text);
    for (const { bandwidthGBps, latencyUs } of cluster.levels)
      expect(texts).toContain(`${bandwidthGBps} GB/s, ${latencyUs} µs`);
  });

  it("puts the cluster, with the sources of its numbers, beside the picture", () => {
    expect(JSON.parse(data.text).cluster).toEqual(JSON.parse(JSON.stringify(twoNodes)));
  });

  it("refuses degrees that do not multiply to the ranks", () => {
    expect(() => drawTopology({ cluster: twoNodes, strategy: "hsap", degrees: [{ name: "sap", size: 3 }] })).toThrow(
      "invalid degrees: 3 ranks in all (must be the cluster's 8)",
    );
  });
});
