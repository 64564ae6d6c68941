import { clusterOf } from "@hsap/cluster";
import {
  layerParameters,
  type ModelProblem,
  modelNamed,
  sequenceParallel,
  stageNames,
  type WeightPlacement,
  weightPlacements,
} from "@hsap/model";
import { accountOf, type Degrees, formatSchedule, parseSchedule, verify } from "@hsap/schedule";
import { packedBatch } from "@hsap/workload";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { baselines, megatron } from "../src/index.ts";

const model = modelNamed("tiny");

function problemOf(ranks: number, lengths: readonly number[], ranksPerNode = 4): ModelProblem {
  return {
    ...{
      model,
      batch: packedBatch(lengths),
      cluster: clusterOf({ ranks, ranksPerNode }),
      dtype: "fp32",
      lossChunk: 16,
    },
  };
}

const around = (name: string, placement: WeightPlacement) => {
  if (name === "megatron") return megatron;
  const attention = baselines.find((each) => each.name === name);
  if (attention === undefined) throw new Error(`no ${name}`);
  return sequenceParallel(attention, placement);
};

/** Tensor ranks and data groups of 2 to 8 ranks, with what is left for the sequence. */
const grids = [
  [2, 1, 1],
  [1, 1, 2],
  [2, 1, 2],
  [1, 2, 2],
  [2, 2, 1],
  [1, 3, 2],
  [4, 1, 2],
  [2, 2, 2],
  [1, 2, 4],
] as const;

describe("a layer split over tensor ranks and data groups", () => {
  it("passes the verifier around every attention strategy, whatever the lengths", () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 4, maxLength: 9 }),
        fc.constantFrom(...grids),
        fc.constantFrom(...baselines.map(({ name }) => name)),
        fc.constantFrom(...weightPlacements),
        (lengths, [tensor, places, data], name, placement) => {
          const problem = problemOf(tensor * places * data, lengths);
          const strategy = around(name, placement);
          if (!strategy.candidateDegrees(problem).some((degrees) => isGrid(degrees, tensor, data))) return;
          const schedules = strategy.compile(problem, { tensor, data });
          for (const stage of stageNames) expect(verify(schedules[stage]), `${name}, ${stage}`).toEqual([]);
        },
      ),
      { numRuns: 25 },
    );
  });

  it("hands every gradient once round the ranks that share it: (P-1)/P of it to each", () => {
    for (const [tensor, data] of [
      [1, 8],
      [2, 4],
      [4, 2],
    ]) {
      const problem = problemOf(8, Array(8).fill(16));
      const { layerBackward } = around("reference", "replicated").compile(problem, { tensor, data });
      const rows = 16 * (8 / data) * model.hidden * 4;
      const gathered = 6 * ((tensor - 1) / tensor) * rows;
      const gains = 2 * model.hidden;
      const matrices = layerParameters(model) - gains;
      const reduced = ((data - 1) / data) * (matrices / tensor) * 4 + (7 / 8) * gains * 4;
      expect(Array.from(accountOf(layerBackward).receivedBytes.perRank)).toEqual(Array(8).fill(gathered + reduced));
    }
  });

  it("brings weights that are kept inside of a group over no link between nodes", () => {
    const problem = problemOf(8, Array(8).fill(16));
    const betweenNodes = (placement: WeightPlacement) =>
      accountOf(around("ulysses", placement).compile(problem, { ulysses: 4, data: 2 }).layerForward).betweenNodesBytes;
    expect(betweenNodes("grouped")).toBe(0);
    expect(betweenNodes("sharded")).toBeGreaterThan(0);
  });

  it("keeps all documents of a group inside of it", () => {
    const problem = problemOf(8, [30, 4, 9, 22, 16, 11]);
    for (const name of ["ring", "colai-sp", "usp"]) {
      const { layerForward } = around(name, "replicated").compile(problem, { tensor: 2, data: 2 });
      expect(accountOf(layerForward).betweenNodesBytes, name).toBe(0);
    }
  });

  it("completes degrees that are left out, and says what is wrong with others", () => {
    const problem = problemOf(8, [30, 4, 9, 22]);
    const degreesOf = (name: string, degrees: Degrees) =>
      around(name, "sharded").compile(problem, degrees).loss.degrees;
    expect(degreesOf("ulysses", { tensor: 2, data: 2 })).toEqual({ tensor: 2, ulysses: 2, data: 2 });
    expect(degreesOf("usp", { ring: 2, data: 2 })).toEqual({ ulysses: 2, ring: 2, data: 2 });
    expect(degreesOf("megatron", { data: 2 })).toEqual({ tensor: 4, data: 2 });
    expect(degreesOf("ring", {})).toEqual({ ring: 8 });
    for (const [name, degrees, message] of [
      ["ring", { tensor: 3 }, "invalid degrees: tensor=3 (must multiply to 8 ranks)"],
      ["ring", { ring: 4 }, "invalid degrees: ring=4 (must multiply to 8 ranks)"],
      ["ring", { tensor: 8 }, "invalid degree: tensor=8 (ring splits 4 kv heads: must divide them)"],
      ["ring", { data: 8 }, "invalid degree: data=8 (each group needs a document, the pack has 4)"],
      ["ring", { tensor: 0 }, "invalid degree: tensor=0 (must be a whole number of at least 1)"],
      ["ring", { sap: 2 }, "unknown degree: sap (ring has tensor, ring, data)"],
      ["megatron", { tensor: 2, data: 2 }, "invalid degrees: tensor=2,data=2 (must multiply to 8 ranks)"],
    ] as const)
      expect(() => degreesOf(name, degrees as Degrees)).toThrow(message);
  });

  for (const stage of stageNames) {
    it(`has no computation in its ${stage} that may be left out`, () => {
      const problem = problemOf(4, [9, 14, 3]);
      const lines = formatSchedule(around("ring", "grouped").compile(problem, { tensor: 2, data: 2 })[stage]).split(
        "\n",
      );
      const computations = lines.flatMap((line, i) => (/^ {2}(?!group)[a-zA-Z]/.test(line) ? [i] : []));
      expect(computations.length).toBeGreaterThan(0);
      for (const i of computations)
        expect(verify(parseSchedule(lines.toSpliced(i, 1).join("\n"))), `without ${lines[i]}`).not.toEqual([]);
    });
  }
});

const isGrid = ({ tensor = 1, data = 1 }: Degrees, wantedTensor: number, wantedData: number): boolean =>
  tensor === wantedTensor && data === wantedData;
