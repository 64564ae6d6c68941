import { clusterOf, presetCluster } from "@hsap/cluster";
import { type ModelProblem, modelNamed, stageNames } from "@hsap/model";
import { flopsOf } from "@hsap/schedule";
import { hardwareOf, matrixFlops, simulate } from "@hsap/simulator";
import { layerStrategyNamed } from "@hsap/training";
import { mixPack } from "@hsap/workload";
import { describe, expect, it } from "vitest";
import { modelFlops, simulatedStep, stepLowerBoundMs } from "../src/index.ts";

const problemOf = (ranks: number, tokens: number, name = "7b"): ModelProblem => ({
  model: modelNamed(name),
  batch: mixPack("hybrid", { tokens, seed: 1 }),
  cluster: clusterOf({ ranks, from: presetCluster("h100-400g") }),
  dtype: "bf16",
  lossChunk: 4096,
});

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

  it("is that of the fastest candidate that fits, of which none is faster than its lower bound", () => {
    const problem: ModelProblem = {
      ...problemOf(8, 16384, "1.3b"),
      batch: mixPack("code", { tokens: 16384, seed: 2 }),
    };
    for (const name of ["megatron", "ulysses", "hsap"]) {
      const strategy = layerStrategyNamed(name);
      const candidates = strategy.candidateDegrees(problem);
      const steps = candidates.map((degrees) => simulatedStep(problem, strategy, { degrees }));
      steps.forEach(({ stepMs, degrees }, i) => {
        expect(degrees).toEqual(candidates[i]);
        expect(stepMs).toBeGreaterThan(stepLowerBoundMs(problem, degrees, hardwareOf(problem.cluster)));
      });
      const fitting = steps.filter(({ fits }) => fits).map(({ stepMs }) => stepMs);
      const fastest = simulatedStep(problem, strategy, { degrees: "fastest" });
      expect(fastest.stepMs, name).toBe(Math.min(...fitting));
      const auto = simulatedStep(problem, strategy, { degrees: "auto" });
      expect(auto.fits).toBe(true);
      expect(auto.stepMs, name).toBeGreaterThanOrEqual(fastest.stepMs);
      // It tries the choice without tensor ranks and data groups as well, where the model can be split so.
      expect(auto.stepMs, name).toBeLessThanOrEqual(simulatedStep(problem, strategy).stepMs);
    }
  });

  it("takes degrees that fit before faster ones, and what needs least where none fits", () => {
    const problem = problemOf(4, 32768, "1.3b");
    const strategy = layerStrategyNamed("ulysses", "replicated");
    const steps = strategy.candidateDegrees(problem).map((degrees) => simulatedStep(problem, strategy, { degrees }));
    const needs = steps.map(({ memory }) => memory.total).sort((a, b) => a - b);
    const withMemory = (bytes: number): ModelProblem => {
      const { cluster } = problem;
      return { ...problem, cluster: { ...cluster, device: { ...cluster.device, memoryGiB: bytes / 2 ** 30 } } };
    };
    const tight = simulatedStep(withMemory(needs[0]), strategy, { degrees: "fastest" });
    expect([tight.fits, tight.memory.total]).toEqual([true, needs[0]]);
    const none = simulatedStep(withMemory(needs[0] - 1), strategy, { degrees: "fastest" });
    expect([none.fits, none.memory.total]).toEqual([false, needs[0]]);
  });
});
