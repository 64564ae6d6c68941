import { writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { InputError } from "@hsap/workload";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  clusterOf,
  namedCluster,
  nodeOf,
  nodesOf,
  presetCluster,
  presetNames,
  ranksPerNode,
  spansOf,
  worldSize,
} from "../src/index.ts";

describe("the presets", () => {
  it("are these", () => {
    expect(presetNames()).toEqual(["a100-200g", "b200-400g", "h100-200g", "h100-400g", "h20-400g", "local"]);
  });

  it.each(presetNames())("of %s give a source for every number", (name) => {
    const { levels, device } = presetCluster(name);
    for (const { name: _, size: __, sources, ...numbers } of levels) {
      expect(Object.keys(sources ?? {}).sort()).toEqual(Object.keys(numbers).sort());
    }
    const { name: _, dtype: __, sources, ...numbers } = device;
    expect(Object.keys(sources ?? {}).sort()).toEqual(Object.keys(numbers).sort());
  });

  it.each(presetNames())("of %s get slower outwards, or stay the same", (name) => {
    const { levels } = presetCluster(name);
    for (let i = 1; i < levels.length; ++i) {
      expect(levels[i].bandwidthGBps).toBeLessThanOrEqual(levels[i - 1].bandwidthGBps);
      expect(levels[i].latencyUs).toBeGreaterThanOrEqual(levels[i - 1].latencyUs);
    }
  });

  it("refuse a name that is none", () => {
    expect(() => namedCluster("h100")).toThrow(
      new InputError(
        "unknown cluster: h100 (known: a100-200g, b200-400g, h100-200g, h100-400g, h20-400g, local, or a .yaml file)",
      ),
    );
  });

  it("stand beside files, which are told by their ending", () => {
    expect(() => namedCluster("missing.yaml")).toThrow(/^unreadable cluster file: missing\.yaml/);
  });
});

describe("a cluster of a given size", () => {
  it("keeps full nodes and grows the outermost level", () => {
    const cluster = clusterOf({ ranks: 128, from: presetCluster("h100-400g") });
    expect(cluster.levels.map(({ name, size }) => [name, size])).toEqual([
      ["nvlink", 8],
      ["network", 16],
    ]);
  });

  it("may have a partly used last node", () => {
    const cluster = clusterOf({ ranks: 12, ranksPerNode: 8 });
    expect([worldSize(cluster), ranksPerNode(cluster), nodesOf(cluster)]).toEqual([12, 8, 2]);
  });

  it("has one node, of its own size, where all ranks fit one", () => {
    const cluster = clusterOf({ ranks: 3, ranksPerNode: 8 });
    expect(cluster.levels.map(({ size }) => size)).toEqual([3]);
  });

  it("holds every rank, in as few nodes as can be, for any size", () => {
    const size = fc.integer({ min: 1, max: 300 });
    fc.assert(
      fc.property(size, size, fc.constantFrom(...presetNames()), (ranks, perNode, name) => {
        const cluster = clusterOf({ ranks, ranksPerNode: perNode, from: presetCluster(name) });
        expect(worldSize(cluster)).toBe(ranks);
        expect(nodesOf(cluster)).toBe(Math.ceil(ranks / perNode));
        expect(nodeOf(cluster, ranks - 1)).toBe(nodesOf(cluster) - 1);
        expect(spansOf(cluster.levels).at(-1)).toBeGreaterThanOrEqual(ranks);
      }),
    );
  });

  it("keeps the middle levels of the cluster it comes from", () => {
    const local = presetCluster("local");
    const spine = { ...local.levels[1], name: "spine", size: 2 };
    const from = { ...local, levels: [...local.levels, spine] };
    expect(clusterOf({ ranks: 30, from }).levels.map(({ size }) => size)).toEqual([4, 2, 4]);
    expect(clusterOf({ ranks: 7, from }).levels.map(({ size }) => size)).toEqual([4, 2]);
  });

  it.each([0, -1, 2.5])("is refused for %d ranks", (count) => {
    expect(() => clusterOf({ ranks: count })).toThrow(
      new InputError(`invalid ranks: ${count} (must be a whole number of at least 1)`),
    );
    expect(() => clusterOf({ ranks: 8, ranksPerNode: count })).toThrow(
      new InputError(`invalid ranksPerNode: ${count} (must be a whole number of at least 1)`),
    );
  });

  it("is refused where the links between nodes are unknown", () => {
    const file = path.join(tmpdir(), `hsap-one-node-${process.pid}.yaml`);
    writeFileSync(
      file,
      "name: one node\nlevels: [{ name: a, size: 8, bandwidthGBps: 1, latencyUs: 1 }]\ndevice: { name: d, dtype: fp32, peakTflops: 1 }\n",
    );
    const from = namedCluster(file);
    expect(clusterOf({ ranks: 20, from }).levels.map(({ size }) => size)).toEqual([20]);
    expect(() => clusterOf({ ranks: 8, ranksPerNode: 4, from })).toThrow(
      new InputError("invalid ranksPerNode: 4 (one node has no link between nodes)"),
    );
  });
});
