import { clusterOf } from "@hsap/cluster";
import { type ModelProblem, modelNamed, updateStageNames, type WeightPlacement } from "@hsap/model";
import { accountOf, type Degrees, verify } from "@hsap/schedule";
import { simulate } from "@hsap/simulator";
import { packedBatch } from "@hsap/workload";
import { describe, expect, it } from "vitest";
import { initialParameters, layerStrategyNamed, ModelStep, weightsOf } from "../src/index.ts";

const model = modelNamed("tiny");
const ranks = 8;
const problem: ModelProblem = {
  ...{ model, batch: packedBatch([37, 5, 1, 70, 15]), cluster: clusterOf({ ranks, ranksPerNode: 4 }) },
  ...{ dtype: "fp32", lossChunk: 24 },
};
const parameters = initialParameters(model, 3);
const weightBytes = weightsOf(model).reduce((sum, { key }) => sum + 4 * (parameters.get(key)?.length ?? 0), 0);

function compiled(name: string, placement: WeightPlacement | undefined, degrees?: Degrees, of = problem) {
  const strategy = layerStrategyNamed(name, placement);
  return strategy.compile(of, degrees ?? strategy.defaultDegrees(of));
}

/** Bytes that all ranks receive after the optimiser's step. */
function spreadBytes({ layerUpdate, endUpdate }: ReturnType<typeof compiled>): number {
  const bytes = (schedule: typeof layerUpdate) => accountOf(schedule).receivedBytes.total;
  return model.layers * bytes(layerUpdate) + bytes(endUpdate);
}

describe("updated weights", () => {
  it.each([
    ["ring", "replicated", undefined],
    ["ring", "sharded", undefined],
    ["ring", "grouped", { ring: 4, data: 2 }],
    ["ulysses", "replicated", { tensor: 2, ulysses: 2, data: 2 }],
    ["hsap", "replicated", undefined],
    ["megatron", undefined, { tensor: 4, data: 2 }],
  ] as const)("get to where %s has %s weights, %j, with the same bits", async (name, placement, degrees) => {
    const schedules = compiled(name, placement, degrees);
    for (const stage of updateStageNames) expect(verify(schedules[stage])).toEqual([]);
    const { weights } = await new ModelStep(problem, schedules).spread(parameters);
    for (const [key, values] of parameters) expect(weights.get(key), key).toEqual(values);
  });

  it("go to every rank that has not updated them where they are replicated, and nowhere where they are sharded", () => {
    expect(spreadBytes(compiled("ring", "replicated"))).toBe((ranks - 1) * weightBytes);
    expect(spreadBytes(compiled("ring", "sharded"))).toBe(0);
  });

  it("go half as far with bf16, and take time that the simulator tells", () => {
    const bf16 = compiled("ring", "replicated", undefined, { ...problem, dtype: "bf16" });
    expect(spreadBytes(bf16)).toBe(((ranks - 1) * weightBytes) / 2);
    const [fast, slow] = [bf16, compiled("ring", "replicated")].map(
      ({ layerUpdate }) => simulate(layerUpdate).trace.durationUs,
    );
    expect(slow).toBeGreaterThan(fast);
    expect(simulate(compiled("ring", "sharded").layerUpdate).trace.durationUs).toBeLessThan(fast);
  });

  it("are missed by the verifier where a rank does not get them", () => {
    const { layerUpdate } = compiled("ring", "replicated");
    const resident = layerUpdate.resident?.map((blocks, rank) =>
      rank === 0 ? blocks.filter(({ tensor }) => tensor !== "wqMaster") : blocks,
    );
    const messages = verify({ ...layerUpdate, ...(resident && { resident }) }).map(({ message }) => message);
    expect(messages.join("\n")).toMatch(/rank 0.*wqMaster/);
  });
});
