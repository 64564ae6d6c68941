import { balancedBoundBytes, slowLinkBoundBytes } from "@hsap/baselines";
import { clusterOf, presetCluster } from "@hsap/cluster";
import { areaOf, kvBytesOf, type Problem } from "@hsap/schedule";
import { InputError, packedBatch } from "@hsap/workload";
import { describe, expect, test } from "vitest";
import { type ComparedStrategy, compareStrategies } from "../src/comparison/comparison.ts";
import { strategies, strategyNamed } from "../src/strategies.ts";

const problemOf = (lengths: readonly number[], ranks = 4): Problem => ({
  batch: packedBatch(lengths),
  shape: { heads: 4, kvHeads: 2, headDim: 64, dtype: "fp32" },
  cluster: clusterOf({ ranks, ranksPerNode: 2 }),
  mask: "causal",
  pass: "forward",
});

const rowOf = (rows: readonly ComparedStrategy[], strategy: string): ComparedStrategy => {
  const row = rows.find((candidate) => candidate.strategy === strategy);
  if (row === undefined) throw new Error(`no row: ${strategy}`);
  return row;
};

describe("a comparison", () => {
  const problem = problemOf([40, 24, 9, 55]);

  test("has a row for every strategy, or its reason for refusing", async () => {
    const { rows, refused, tooLarge } = await compareStrategies(problem, { strategies });
    const seen = [...rows, ...refused, ...tooLarge].map(({ strategy }) => strategy);
    expect(new Set(seen)).toEqual(new Set(strategies.map(({ name }) => name)));
    expect(refused).toEqual([{ strategy: "reference", reason: "invalid ranks: 4 (reference runs on 1 rank)" }]);
    expect(rows.flatMap(({ findings }) => findings)).toEqual([]);
  });

  test("is sorted by the bytes that the highest rank receives, if nothing is measured", async () => {
    const { rows } = await compareStrategies(problem, { strategies });
    const highest = rows.map(({ receivedBytes }) => receivedBytes.max);
    expect(highest).toEqual([...highest].sort((a, b) => a - b));
    expect(rows.every(({ measured }) => measured === undefined)).toBe(true);
  });

  test("counts what the formulas say", async () => {
    const { rows, bounds } = await compareStrategies(problem, { strategies });
    expect(rowOf(rows, "ring").receivedBytes.mean).toBe((3 / 4) * kvBytesOf(problem));
    for (const { bytesByLevel, receivedBytes, betweenNodesBytes, area, strategy } of rows) {
      expect(bytesByLevel.reduce((sum, bytes) => sum + bytes)).toBe(receivedBytes.total);
      expect(bytesByLevel[1]).toBe(betweenNodesBytes);
      // Unfused scores are computed in rectangles.
      if (strategy !== "colai-sp") expect(area).toBe(4 * areaOf(problem));
    }
    expect(bounds).toEqual({
      receivedBytesMean: balancedBoundBytes(problem),
      betweenNodesBytes: 2 * slowLinkBoundBytes(problem),
    });
  });

  test("counts keys and values that a rank receives and no query of it needs", async () => {
    // Each document lies on one rank, so nothing that a ring sends is needed.
    const { rows } = await compareStrategies(problemOf([32, 32, 32, 32]), { strategies });
    for (const name of ["ring", "allgather"]) {
      const { unneededBytes, receivedBytes } = rowOf(rows, name);
      if (name === "ring") expect(unneededBytes).toBe(receivedBytes.total);
      else expect(unneededBytes).toBeGreaterThan(0);
    }
    for (const name of ["dispatch-groupcast", "hsap", "ulysses"]) expect(rowOf(rows, name).unneededBytes).toBe(0);
    const one = await compareStrategies(problemOf([128]), { strategies: [strategyNamed("ring")] });
    // On one causal document rank r needs the pieces before its own: 0 + 1 + 2 + 3 of the 12 received.
    expect(one.rows[0].unneededBytes).toBe(one.rows[0].receivedBytes.total / 2);
  });

  test("counts contaminated pairs and padding of systems as published", async () => {
    const { rows } = await compareStrategies(problem, { strategies, faithful: true });
    const whole = areaOf({ ...problem, batch: packedBatch([128]) });
    for (const name of ["ring", "zigzag", "striped"]) {
      const { contaminatedArea, area, findings } = rowOf(rows, name);
      expect(contaminatedArea).toBe(4 * (whole - areaOf(problem)));
      expect(area).toBe(4 * whole);
      expect(findings[0]).toMatch(/^contamination: /);
    }
    // To multiples of 8: 9 tokens to 16, 55 to 56.
    expect(rowOf(rows, "zigzag-per-document").paddingTokens).toBe(8);
    for (const name of ["ulysses", "hsap", "colai-sp"]) expect(rowOf(rows, name).contaminatedArea).toBe(0);
  });

  test("leaves out a schedule too large to be made, says how large, and makes it when told to", async () => {
    const many = problemOf(new Array(3000).fill(120), 16);
    const zigzag = [strategyNamed("zigzag-per-document")];
    const { rows, tooLarge } = await compareStrategies(many, { strategies: zigzag });
    expect(rows).toEqual([]);
    expect(tooLarge).toEqual([
      { strategy: "zigzag-per-document", reason: "about 14 million operands (more than 2 million)" },
    ]);
    const few = await compareStrategies(problem, { strategies: zigzag, all: true });
    expect(few.rows).toHaveLength(1);
  });

  test("passes a refusal on where only one strategy is asked for", async () => {
    const hybrid = [strategyNamed("hybrid-cp")];
    await expect(compareStrategies(problemOf([40], 3), { strategies: hybrid })).rejects.toThrow(InputError);
  });

  test.each(["forward", "backward"] as const)("measures every schedule and checks what comes out, %s", async (pass) => {
    const labels: number[] = [];
    const { rows, bounds } = await compareStrategies(
      { ...problem, pass },
      { strategies, repeats: 2, onProgress: (done) => labels.push(done) },
    );
    expect(rows.length).toBe(strategies.length - 1);
    const path = rows.map(({ measured }) => measured?.criticalPathMs ?? Number.NaN);
    expect(path).toEqual([...path].sort((a, b) => a - b));
    for (const { measured } of rows) {
      expect(measured?.repeats).toBe(2);
      expect(measured?.fault).toBeUndefined();
      expect(Object.keys(measured?.errors ?? {})).toEqual(pass === "forward" ? ["o", "lse"] : ["dq", "dk", "dv"]);
      // Each rank's share at the best rate is less than any critical path: the bound is one.
      expect(bounds.computeFloorMs).toBeLessThanOrEqual((measured?.computationMs ?? 0) / 4 + 1e-9);
    }
    expect(bounds.computeFloorMs).toBeGreaterThan(0);
    expect(labels).toEqual([...labels].sort((a, b) => a - b));
    expect(labels.at(-1)).toBe(1);
  });

  test("predicts every schedule on the cluster, and sorts by that where nothing is measured", async () => {
    const large = { ...problem, shape: { heads: 16, kvHeads: 2, headDim: 128, dtype: "bf16" as const } };
    const cluster = clusterOf({ ranks: 4, ranksPerNode: 2, from: presetCluster("h100-400g") });
    const { rows, bounds } = await compareStrategies({ ...large, cluster }, { strategies, predict: true });
    const steps = rows.map(({ predicted }) => predicted?.stepMs ?? Number.NaN);
    expect(steps).toEqual([...steps].sort((a, b) => a - b));
    for (const { predicted } of rows) {
      if (predicted === undefined) continue;
      const { stepMs, computingMs, exposedCommunicationMs, waitingMs, exposedByLevelMs } = predicted;
      expect(computingMs + exposedCommunicationMs + waitingMs).toBeCloseTo(stepMs, 9);
      expect(exposedByLevelMs.reduce((sum, ms) => sum + ms, 0)).toBeCloseTo(exposedCommunicationMs, 9);
    }
    expect(bounds.predictedFloorMs).toBeGreaterThan(0);
    expect(bounds.predictedFloorMs).toBeLessThanOrEqual(steps[0]);
    expect(rows.every(({ measured }) => measured === undefined)).toBe(true);
  });

  test("shows that a contaminated run is wrong, and runs a padded one against its own reference", async () => {
    const chosen = ["ring", "zigzag-per-document"].map(strategyNamed);
    const { rows } = await compareStrategies(problem, { strategies: chosen, faithful: true, repeats: 1 });
    expect(rowOf(rows, "ring").measured?.fault).toMatch(/^error of o is /);
    expect(rowOf(rows, "zigzag-per-document").measured?.fault).toBeUndefined();
  });
});
