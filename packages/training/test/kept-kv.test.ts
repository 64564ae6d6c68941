import { clusterOf } from "@hsap/cluster";
import { type ModelProblem, memoryOf, modelNamed, type ReceivedKv, type StepSchedules, stageNames } from "@hsap/model";
import { accountOf, type Degrees, homeBlocks, opAt, verify } from "@hsap/schedule";
import { packedBatch, seededRandom, tokensOf } from "@hsap/workload";
import { describe, expect, it } from "vitest";
import { initialParameters, layerStrategyNamed, layerStrategyNames, ModelStep } from "../src/index.ts";

const model = modelNamed("tiny");
const batch = packedBatch([137, 5, 1, 170, 15]);
const kvBytes = 2 * model.kvHeads * model.headDim * 4;

interface Compiled {
  readonly problem: ModelProblem;
  readonly schedules: StepSchedules;
}

function compiled(name: string, receivedKv: ReceivedKv, degrees?: Degrees, ranks = 8): Compiled {
  const problem: ModelProblem = {
    ...{ model, batch, cluster: clusterOf({ ranks, ranksPerNode: 4 }), dtype: "fp32", lossChunk: 24, receivedKv },
  };
  const strategy = layerStrategyNamed(name);
  return { problem, schedules: strategy.compile(problem, degrees ?? strategy.defaultDegrees(problem)) };
}

const receivedBytes = ({ schedules }: Compiled, stage: "layerForward" | "layerBackward"): number =>
  accountOf(schedules[stage]).receivedBytes.total;

const activationBytes = ({ problem, schedules }: Compiled): number =>
  memoryOf(problem, schedules).reduce((sum, { activations }) => sum + activations, 0);

/** Bytes of keys and values that the backward stage of a layer brings to ranks. */
function fetchedBytes({ schedules: { layerBackward: schedule } }: Compiled): number {
  let bytes = 0;
  for (let row = 0; row < schedule.ops.kind.length; row++) {
    const { kind, blocks } = opAt(schedule, row);
    if (kind !== "recv") continue;
    for (const { tensor, part, tokenBegin, tokenEnd, headBegin, headEnd } of blocks)
      if (part === 0 && (tensor === "k" || tensor === "v"))
        bytes += (tokenEnd - tokenBegin) * (headEnd - headBegin) * model.headDim * 4;
  }
  return bytes;
}

describe("keys and values that the forward pass has brought", () => {
  const cases = layerStrategyNames.flatMap((name): [string, Degrees | undefined][] =>
    name === "hsap"
      ? [
          [name, { ulysses: 1, sap: 8 }],
          [name, { ulysses: 2, sap: 4 }],
        ]
      : [[name, undefined]],
  );

  it.each(cases)("are fetched by %s %j in no backward pass if they are kept, and take memory then", (name, degrees) => {
    const ranks = name === "reference" ? 1 : name === "megatron" ? 4 : 8;
    const [fetched, kept] = [compiled(name, "fetch", degrees, ranks), compiled(name, "keep", degrees, ranks)];
    for (const stage of stageNames) expect(verify(kept.schedules[stage])).toEqual([]);
    expect(fetchedBytes(kept)).toBe(0);
    expect(receivedBytes(kept, "layerForward")).toBe(receivedBytes(fetched, "layerForward"));
    expect(receivedBytes(fetched, "layerBackward") - receivedBytes(kept, "layerBackward")).toBe(fetchedBytes(fetched));
    if (fetchedBytes(fetched) > 0) expect(activationBytes(kept)).toBeGreaterThan(activationBytes(fetched));
    else expect(activationBytes(kept)).toBe(activationBytes(fetched));
  });

  it("are all of the others', once a layer, with ring and allgather", () => {
    for (const name of ["ring", "allgather"])
      expect(fetchedBytes(compiled(name, "fetch")), name).toBe(7 * tokensOf(batch) * kvBytes);
  });

  it("are kept where a rank computes with them, and nothing else", () => {
    for (const name of ["ring", "hsap"]) {
      const degrees = name === "hsap" ? { ulysses: 1, sap: 8 } : undefined;
      const [fetched, kept] = [compiled(name, "fetch", degrees), compiled(name, "keep", degrees)];
      const { layout } = fetched.schedules.layerBackward;
      let rows = 0;
      layout.forEach((owned, rank) => {
        const computed = new Set<number>();
        const { layerBackward: schedule } = fetched.schedules;
        for (let row = schedule.opBegin[rank]; row < schedule.opBegin[rank + 1]; row++) {
          const { kind, blocks } = opAt(schedule, row);
          if (kind !== "attend") continue;
          for (let token = blocks[1].tokenBegin; token < blocks[1].tokenEnd; token++)
            if (!owned.some(({ begin, end }) => token >= begin && token < end)) computed.add(token);
        }
        rows += computed.size;
        const homes = homeBlocks(kept.schedules.layerForward, rank, "k");
        expect(homeBlocks(kept.schedules.layerBackward, rank, "k")).toEqual(homes);
      });
      expect(activationBytes(kept) - activationBytes(fetched), name).toBe(model.layers * rows * kvBytes);
    }
  });

  it("are missed by the verifier where the forward pass does not leave them", () => {
    const { layerBackward } = compiled("ring", "keep").schedules;
    const resident = layerBackward.resident?.map((blocks, rank) =>
      blocks.filter(({ tensor, tokenBegin }) => tensor !== "k" || tokenBegin >= layerBackward.layout[rank][0].begin),
    );
    const messages = verify({ ...layerBackward, ...(resident && { resident }) }).map(({ message }) => message);
    expect(messages.join("\n")).toMatch(/availability: rank \d, op \d+ \(attend\), k.*is not held by then/);
  });

  it.each([
    ["ring", undefined],
    ["allgather", undefined],
    ["usp", undefined],
    ["hsap", { ulysses: 1, sap: 8 }],
  ] as const)("give the same bits with %s %j, kept or fetched", async (name, degrees) => {
    const parameters = initialParameters(model, 3);
    const random = seededRandom(11);
    const ids = Int32Array.from({ length: tokensOf(batch) }, () => Math.floor(random() * model.vocabulary));
    const [fetched, kept] = await Promise.all(
      (["fetch", "keep"] as const).map((receivedKv) => {
        const { problem, schedules } = compiled(name, receivedKv, degrees);
        return new ModelStep(problem, schedules).run(parameters, ids);
      }),
    );
    expect(kept.loss).toBe(fetched.loss);
    for (const [key, gradient] of kept.gradients) expect(gradient, key).toEqual(fetched.gradients.get(key));
  });
});
