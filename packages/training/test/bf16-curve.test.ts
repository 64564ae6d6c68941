import { clusterOf } from "@hsap/cluster";
import { modelNamed } from "@hsap/model";
import type { Dtype } from "@hsap/schedule";
import { describe, expect, it } from "vitest";
import { initialState, layerStrategyNamed, type TrainingOptions, trainStep } from "../src/index.ts";

const steps = 200;

async function lossesOf(dtype: Dtype): Promise<number[]> {
  const options: TrainingOptions = {
    ...{ model: modelNamed("tiny"), mix: "chat", tokens: 128, seed: 1, dtype },
    strategy: layerStrategyNamed("reference"),
    cluster: clusterOf({ ranks: 1 }),
  };
  let state = initialState(options);
  const losses: number[] = [];
  while (state.step < steps) {
    const [next, { loss }] = await trainStep(state, options);
    state = next;
    losses.push(loss);
  }
  return losses;
}

describe("200 steps of the tiny model", () => {
  it("have losses in bf16 that are those of fp32 as far as bf16 numbers tell them apart", {
    timeout: 240_000,
  }, async () => {
    const [fp32, bf16] = await Promise.all([lossesOf("fp32"), lossesOf("bf16")]);
    expect(fp32[steps - 1]).toBeLessThan(1.8);
    // The logits that a loss is made of are bf16 numbers, and those are off by half of their last place, 2^-8 of them, at most.
    const distances = bf16.map((loss, i) => Math.abs(loss - fp32[i]) / fp32[i]);
    expect(Math.max(...distances)).toBeLessThan(2 ** -8);
    // Steps do not err the same way: that is rounding, and no drift.
    const last = 50;
    const drift = bf16.slice(-last).reduce((sum, loss, i) => sum + loss / fp32[steps - last + i] - 1, 0) / last;
    expect(Math.abs(drift)).toBeLessThan(2 ** -8 / Math.sqrt(last));
    expect(bf16).not.toEqual(fp32);
  });
});
