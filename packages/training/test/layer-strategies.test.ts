import { clusterOf } from "@hsap/cluster";
import { type ModelProblem, modelNamed, stageNames } from "@hsap/model";
import { lower, verify } from "@hsap/schedule";
import { InputError, mixPack } from "@hsap/workload";
import { describe, expect, it } from "vitest";
import { layerStrategyNamed, layerStrategyNames } from "../src/index.ts";

const problemOf = (mix: string, ranks: number, ranksPerNode: number, tokens: number): ModelProblem => ({
  ...{ model: modelNamed("tiny"), batch: mixPack(mix, { tokens, seed: 3 }), dtype: "fp32", lossChunk: 256 },
  cluster: clusterOf({ ranks, ranksPerNode }),
});

describe("strategies for whole layers", () => {
  it("are all that there are for attention, and megatron", () => {
    expect(layerStrategyNames).toContain("megatron");
    expect(layerStrategyNames.at(-1)).toBe("hsap");
    for (const name of layerStrategyNames) expect(layerStrategyNamed(name).name).toBe(name);
    expect(() => layerStrategyNamed("rnig")).toThrow(InputError);
  });

  it("hold every rule with hsap on real lengths, where it splits heads of all documents, of some, or of none", () => {
    const splits = new Set<string>();
    for (const [mix, ranks, ranksPerNode, tokens] of [
      ["code", 8, 4, 4096],
      ["hybrid", 4, 4, 8192],
      ["chat", 6, 3, 999],
    ] as const) {
      const problem = problemOf(mix, ranks, ranksPerNode, tokens);
      const strategy = layerStrategyNamed("hsap");
      const schedules = strategy.compile(problem, strategy.defaultDegrees(problem));
      for (const stage of stageNames) {
        expect(verify(schedules[stage]), `${mix}, ${stage}`).toEqual([]);
        expect(lower(schedules[stage]).rank.arenaBytes).toHaveLength(ranks);
      }
      const kept = (schedules.layerForward.resident ?? []).flat().filter(({ tensor }) => tensor === "q");
      splits.add([...new Set(kept.map(({ headBegin, headEnd }) => headEnd - headBegin))].sort().join());
    }
    // Heads that a rank keeps of q: one of eight or two of eight of a document that is split, all of one that is not.
    expect([...splits].sort()).toEqual(["", "1", "2,8"]);
  });
});
