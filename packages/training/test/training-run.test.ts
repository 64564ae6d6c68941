import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { clusterOf } from "@hsap/cluster";
import { modelNamed } from "@hsap/model";
import type { Dtype } from "@hsap/schedule";
import { InputError, packedBatch } from "@hsap/workload";
import { afterAll, describe, expect, it } from "vitest";
import {
  initialState,
  layerStrategyNamed,
  nextTokens,
  readCheckpoint,
  saveCheckpoint,
  syntheticText,
  type TrainingOptions,
  type TrainingState,
  trainStep,
} from "../src/index.ts";

const folder = mkdtempSync(path.join(tmpdir(), "hsap-training-"));
afterAll(() => rmSync(folder, { recursive: true }));

function optionsOf(strategy: string, ranks: number, dtype: Dtype = "fp32"): TrainingOptions {
  return {
    ...{ model: modelNamed("tiny"), mix: "chat", tokens: 256, seed: 1, dtype },
    strategy: layerStrategyNamed(strategy),
    cluster: clusterOf({ ranks, ranksPerNode: 4 }),
  };
}

async function train(options: TrainingOptions, steps: number, from?: TrainingState) {
  let state = from ?? initialState(options);
  const losses: number[] = [];
  for (let i = 0; i < steps; i++) {
    const [next, { loss }] = await trainStep(state, options);
    state = next;
    losses.push(loss);
  }
  return { state, losses };
}

describe("training the tiny model", () => {
  it("learns, and follows the curve of one rank with every kind of strategy", async () => {
    const alone = await train(optionsOf("reference", 1), 16);
    expect(alone.losses[0]).toBeCloseTo(Math.log(256), 1);
    expect(alone.losses[15]).toBeLessThan(5.4);
    for (const [strategy, ranks] of [
      ["hsap", 8],
      ["ulysses", 4],
      ["megatron", 4],
    ] as const) {
      const { losses } = await train(optionsOf(strategy, ranks), 16);
      losses.forEach((loss, step) => {
        expect(Math.abs(loss - alone.losses[step]), `${strategy}, step ${step + 1}`).toBeLessThan(1e-4);
      });
    }
  });

  it.each(["fp32", "bf16"] as const)(
    "goes on from a checkpoint in %s with the same bits as without one",
    async (dtype) => {
      const options = optionsOf("ring", 2, dtype);
      const whole = await train(options, 4);
      const half = await train(options, 2);
      const file = path.join(folder, "run.ckpt");
      saveCheckpoint(file, half.state, options);
      const { state, data } = readCheckpoint(file);
      expect(data).toEqual({ model: options.model, mix: "chat", tokens: 256, seed: 1, dtype });
      const rest = await train(options, 2, state);
      expect([...half.losses, ...rest.losses]).toEqual(whole.losses);
      for (const name of ["weights", "stored", "first", "second"] as const)
        for (const [key, values] of rest.state[name]) expect(values, key).toEqual(whole.state[name].get(key));
      expect(readdirSync(folder)).toEqual(["run.ckpt"]);
    },
  );

  it.each(["fp32", "bf16"] as const)(
    "touches the memory that is counted in %s, where storing weights takes most too",
    async (dtype) => {
      for (const [vocabulary, tokens] of [
        [256, 1024],
        [8192, 32],
      ]) {
        const options = { ...optionsOf("ring", 1, dtype), model: { ...modelNamed("tiny"), vocabulary }, tokens };
        const [, { arenaBytes, residentBytes }] = await trainStep(initialState(options), options);
        expect(residentBytes / arenaBytes, `${tokens} tokens`).toBeGreaterThan(0.95);
        expect(residentBytes / arenaBytes, `${tokens} tokens`).toBeLessThan(1.05);
      }
    },
  );

  it("refuses a checkpoint that is damaged, or none, in one line", () => {
    const options = optionsOf("ring", 2);
    const file = path.join(folder, "damaged.ckpt");
    saveCheckpoint(file, initialState(options), options);
    const bytes = readFileSync(file);
    bytes[bytes.length >> 1] ^= 1;
    writeFileSync(file, bytes);
    expect(() => readCheckpoint(file)).toThrow(InputError);
    expect(() => readCheckpoint(path.join(folder, "none"))).toThrow(/^unreadable checkpoint: [^\n]*$/);
    expect(() => saveCheckpoint(path.join(folder, "no", "such"), initialState(options), options)).toThrow(InputError);
  });
});

describe("labels", () => {
  it("are the next tokens of the same document, and nothing for its last token", () => {
    const { ids, weights } = nextTokens(Int32Array.of(7, 8, 9, 4, 5, 6), packedBatch([3, 1, 2]));
    expect([...ids]).toEqual([8, 9, 0, 0, 6, 0]);
    expect([...weights]).toEqual([1 / 3, 1 / 3, 0, 0, 1 / 3, 0]);
  });

  it("are refused where no document has two tokens", () => {
    expect(() => nextTokens(Int32Array.of(1, 2), packedBatch([1, 1]))).toThrow("nothing to predict");
  });
});

describe("synthetic text", () => {
  it("is the same for a seed, and has at most four successors of each token", () => {
    const batch = packedBatch([5000, 1, 3000]);
    const ids = syntheticText(batch, 256, 3);
    expect(syntheticText(batch, 256, 3)).toEqual(ids);
    const after = new Map<number, Set<number>>();
    for (let i = 1; i < 5000; i++) after.set(ids[i - 1], (after.get(ids[i - 1]) ?? new Set()).add(ids[i]));
    expect(Math.max(...[...after.values()].map(({ size }) => size))).toBe(4);
  });
});
