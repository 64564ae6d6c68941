import { clusterOf } from "@hsap/cluster";
import { MemoryCount, type ModelProblem, memoryOf, modelNamed, recomputations } from "@hsap/model";
import { packedBatch } from "@hsap/workload";
import { describe, expect, it } from "vitest";
import { layerStrategyNamed } from "../src/index.ts";

const problem: ModelProblem = {
  model: modelNamed("tiny"),
  batch: packedBatch([300, 41, 500, 183]),
  cluster: clusterOf({ ranks: 8, ranksPerNode: 4 }),
  dtype: "bf16",
  lossChunk: 64,
};

const cases = [
  ["megatron", { tensor: 4, data: 2 }, {}],
  ["colai-sp", { ring: 8 }, {}],
  ["ulysses", { tensor: 2, ulysses: 4 }, {}],
  ["ring", { ring: 8 }, { prefetch: true, receivedKv: "keep" }],
  ["hsap", { ulysses: 2, sap: 4 }, { overlap: true }],
] as const;

describe("the count of a step's memory", () => {
  it.each(cases)("says of %s %j %j whether a rank needs more than so many bytes", (name, degrees, more) => {
    const schedules = layerStrategyNamed(name).compile({ ...problem, ...more }, degrees);
    for (const recompute of recomputations) {
      const given = { ...problem, ...more, recompute };
      const ranks = memoryOf(given, schedules);
      const most = Math.max(...ranks.map(({ total }) => total));
      // One count for all limits, as in a search, and one for each.
      const count = new MemoryCount(given, () => schedules);
      for (const limit of [0, most / 2, 0.9 * most, most - 1, most, 2 * most]) {
        expect(count.exceeds(given, limit), `${recompute}, ${limit} of ${most}`).toBe(limit < most);
        expect(new MemoryCount(given, () => schedules).exceeds(given, limit)).toBe(limit < most);
      }
      expect(count.ofRanks(given)).toEqual(ranks);
      expect(count.most(given).total).toBe(most);
    }
  });

  it("makes one stage only of a step that needs far more, and all of one that fits", () => {
    const schedules = layerStrategyNamed("hsap").compile(problem, { ulysses: 2, sap: 4 });
    const made = () =>
      Object.entries(Object.getOwnPropertyDescriptors(schedules)).flatMap(([stage, { get }]) => (get ? [] : [stage]));
    const count = new MemoryCount(problem, () => schedules);
    expect(made()).toEqual([]);
    expect(count.exceeds(problem, 1)).toBe(true);
    expect(made()).toEqual(["layerBackward"]);
    expect(count.exceeds(problem, 2 ** 40)).toBe(false);
    expect(made().sort()).toEqual(Object.keys(schedules).sort());
    expect(schedules.loss).toBe(schedules.loss);
  });
});
