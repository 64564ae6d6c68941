import { clusterOf, presetCluster } from "@hsap/cluster";
import { type ModelProblem, modelNamed, stageNames } from "@hsap/model";
import { flopsOf } from "@hsap/schedule";
import { hardwareOf, matrixFlops, simulate } from "@hsap/simulator";
import { layerStrategyNamed } from "@hsap/training";
import { mixPack } from "@hsap/workload";
import { describe, expect, it } from "vitest";
import {
  fittingStep,
  KnownSteps,
  modelFlops,
  type SimulatedStep,
  simulatedStep,
  stepLowerBoundBytes,
  stepLowerBoundMs,
} from "../src/index.ts";

const problemOf = (ranks: number, tokens: number, name = "7b"): ModelProblem => ({
  model: modelNamed(name),
  batch: mixPack("hybrid", { tokens, seed: 1 }),
  cluster: clusterOf({ ranks, from: presetCluster("h100-400g") }),
  dtype: "bf16",
  lossChunk: 4096,
});

function withMemory(problem: ModelProblem, bytes: number): ModelProblem {
  const { cluster } = problem;
  return { ...problem, cluster: { ...cluster, device: { ...cluster.device, memoryGiB: bytes / 2 ** 30 } } };
}

/** The fastest that fits, or else what needs least. */
function byTryingAll(steps: readonly SimulatedStep[], bytes: number): SimulatedStep {
  const fitting = steps.filter(({ memory }) => memory.total <= bytes);
  return fitting.length > 0
    ? fitting.reduce((best, step) => (step.stepMs < best.stepMs ? step : best))
    : steps.reduce((best, step) => (step.memory.total < best.memory.total ? step : best));
}

describe("a simulated training step", () => {
  it("has the matrix products of the model's FLOPs, whatever the strategy", () => {
    for (const name of ["megatron", "ulysses", "hsap"]) {
      const problem = problemOf(4, 4096, "1.3b");
      const strategy = layerStrategyNamed(name);
      const schedules = strategy.compile(problem, strategy.defaultDegrees(problem));
      let products = 0;
      for (const stage of stageNames) {
        const runs = stage.startsWith("layer") ? problem.model.layers : 1;
        const { ops } = schedules[stage];
        for (let row = 0; row < ops.kind.length; row++) products += runs * matrixFlops(schedules[stage], row);
      }
      const attention = 3 * problem.model.layers * flopsOf(schedules.layerForward.problem);
      expect(products / (modelFlops(problem) - attention), name).toBeCloseTo(1, 9);
    }
  });

  it("takes no less than its products at the device's rate, and no more TFLOP/s than that", () => {
    const problem = problemOf(8, 16384);
    const { matrix } = hardwareOf(problem.cluster);
    for (const name of ["megatron", "ulysses", "hsap"]) {
      const step = simulatedStep(problem, layerStrategyNamed(name));
      expect(step.mfu, name).toBeGreaterThan(0.05);
      expect(step.mfu, name).toBeLessThan(matrix?.shareOfPeak ?? 0);
      expect(step.tokensPerSecond * step.stepMs).toBeCloseTo(1000 * 16384, 3);
    }
  });

  it("takes a layer's forward pass twice where everything is computed again, and keeps less", () => {
    const problem = problemOf(8, 16384);
    const kept = simulatedStep(problem, layerStrategyNamed("ulysses"));
    const again = simulatedStep({ ...problem, recompute: "full" }, layerStrategyNamed("ulysses"));
    expect(again.stepMs - kept.stepMs).toBeCloseTo(problem.model.layers * kept.stageMs.layerForward, 6);
    expect(again.memory.activations).toBeLessThan(kept.memory.activations / 4);
  });

  it("takes all ranges of a rank's tokens in one call", () => {
    const problem = problemOf(8, 16384);
    const stage = (shard: string) => {
      const strategy = layerStrategyNamed("hsap");
      const { layerForward } = strategy.compile(problem, { ulysses: 8, sap: 1 }, { shard });
      return simulate(layerForward).trace.durationUs;
    };
    // A balanced shard is many ranges, a contiguous one is one; the linear layers take as long for both.
    expect(stage("balanced")).toBeLessThan(1.25 * stage("contiguous"));
  });

  it("takes no less time and memory with any degrees than what bounds it from below", () => {
    const code: ModelProblem = { ...problemOf(4, 4096, "1.3b"), batch: mixPack("code", { tokens: 4096, seed: 2 }) };
    const problems = [
      code,
      { ...code, recompute: "full" as const },
      { ...code, dtype: "fp32" as const },
      { ...code, overlap: true },
    ];
    for (const problem of problems) {
      for (const name of ["megatron", "colai-sp", "ulysses", "ring", "hsap"]) {
        const strategy = layerStrategyNamed(name);
        for (const degrees of strategy.candidateDegrees(problem)) {
          const { stepMs, memory, degrees: taken } = simulatedStep(problem, strategy, { degrees });
          expect(taken).toEqual(degrees);
          const text = `${name} ${JSON.stringify(degrees)} ${problem.recompute} ${problem.dtype}`;
          expect(stepMs, text).toBeGreaterThan(stepLowerBoundMs(problem, degrees, hardwareOf(problem.cluster)));
          expect(memory.total, text).toBeGreaterThan(stepLowerBoundBytes(problem, degrees));
        }
      }
    }
  });

  it("is the one that trying all candidates finds, whatever fits, and whatever is known already", () => {
    const whole = { ...problemOf(4, 4096, "1.3b"), batch: mixPack("code", { tokens: 4096, seed: 2 }) };
    for (const name of ["megatron", "ulysses", "hsap"]) {
      const strategy = layerStrategyNamed(name);
      const steps = strategy.candidateDegrees(whole).map((degrees) => simulatedStep(whole, strategy, { degrees }));
      const needs = steps.map(({ memory }) => memory.total).sort((a, b) => a - b);
      // None fits, one does, half of them do, all do.
      for (const bytes of [needs[0] - 1, needs[0], needs[needs.length >> 1], needs[needs.length - 1]]) {
        const problem = withMemory(whole, bytes);
        const known = new KnownSteps();
        const chosen = simulatedStep(problem, strategy, { degrees: "fastest", known });
        expect(chosen, `${name} ${bytes}`).toEqual({ ...byTryingAll(steps, bytes), fits: bytes >= needs[0] });
        const again = simulatedStep({ ...problem, recompute: "full" }, strategy, { degrees: "fastest", known });
        expect(again).toEqual(simulatedStep({ ...problem, recompute: "full" }, strategy, { degrees: "fastest" }));
        expect(fittingStep(problem, strategy, { degrees: "fastest", known })).toEqual(chosen.fits ? chosen : undefined);
        const auto = simulatedStep(problem, strategy, { degrees: "auto", known });
        if (auto.fits) expect(auto.stepMs, name).toBeGreaterThanOrEqual(chosen.stepMs);
        // It tries the choice without tensor ranks and data groups as well, where the model can be split so.
        const own = simulatedStep(problem, strategy, { known });
        if (own.fits) expect(auto.stepMs, name).toBeLessThanOrEqual(own.stepMs);
      }
    }
  });

  it("takes degrees that fit before faster ones, and what needs least where none fits", () => {
    const problem = problemOf(4, 32768, "1.3b");
    const strategy = layerStrategyNamed("ulysses", "replicated");
    const steps = strategy.candidateDegrees(problem).map((degrees) => simulatedStep(problem, strategy, { degrees }));
    const needs = steps.map(({ memory }) => memory.total).sort((a, b) => a - b);
    const tight = simulatedStep(withMemory(problem, needs[0]), strategy, { degrees: "fastest" });
    expect([tight.fits, tight.memory.total]).toEqual([true, needs[0]]);
    const none = simulatedStep(withMemory(problem, needs[0] - 1), strategy, { degrees: "fastest" });
    expect([none.fits, none.memory.total]).toEqual([false, needs[0]]);
  });
});
