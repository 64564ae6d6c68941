import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { clusterOf, presetCluster } from "@hsap/cluster";
import { type Pass, type Problem, verify } from "@hsap/schedule";
import { readHardware, simulate } from "@hsap/simulator";
import { packedBatch } from "@hsap/workload";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { errorsOf } from "../src/accuracy.ts";
import { clusterHardwareOf } from "../src/calibration/cluster-files.ts";
import type { ClusterProfile } from "../src/calibration/measured-cluster.ts";
import { compileWith } from "../src/compiled.ts";
import { computeFloor } from "../src/experiment/compute-floor.ts";
import { measuredSteps, medianPredictionError } from "../src/experiment/measured-steps.ts";
import type { StepPredictions } from "../src/experiment/step-predictions.ts";
import { checkTargets } from "../src/experiment/step-targets.ts";
import { ReferenceStore } from "../src/reference-store.ts";
import { runHere } from "../src/run-schedule.ts";
import { strategyNamed } from "../src/strategies.ts";
import type { Trial } from "../src/trial.ts";

const problemOf = (pass: Pass, kvHeads = 2): Problem => ({
  batch: packedBatch([37, 5, 64, 1]),
  shape: { heads: 4, kvHeads, headDim: 64, dtype: "fp32" },
  cluster: clusterOf({ ranks: 4, ranksPerNode: 2 }),
  mask: "causal",
  pass,
});

/** A trial as far as steps look at it. */
function trialOf(strategy: string, wallMs: number, repeat: number, mix = "hybrid"): Trial {
  const problem = { mix, pass: "forward", lengthsDigest: "d", seed: 1 };
  return { strategy, degrees: { ranks: 8 }, options: {}, repeat, wallMs, problem } as unknown as Trial;
}

const trialsOf = (times: Readonly<Record<string, number>>, mix?: string): Trial[] =>
  [0, 1, 2].flatMap((repeat) =>
    Object.entries(times).map(([name, ms]) => trialOf(name, ms * (1 + repeat / 10), repeat, mix)),
  );

describe("the compute floor", () => {
  it("is a right schedule that computes as much as the problem, evenly, and sends nothing", () => {
    for (const pass of ["forward", "backward"] as const) {
      const problem = problemOf(pass, 1);
      const { schedule, account, findings } = compileWith(computeFloor, problem);
      expect(findings).toEqual([]);
      expect(verify(schedule)).toEqual([]);
      expect(account.receivedBytes.total).toBe(0);
      expect(account.area.balance).toBe(1);
      const other = compileWith(strategyNamed("ring"), problem).account;
      const sum = (values: ArrayLike<number>) => Array.from(values).reduce((a, b) => a + b, 0);
      expect(sum(account.area.perRank)).toBe(sum(other.area.perRank));
    }
  });

  it("refuses ranks that do not divide the heads", () => {
    const problem = { ...problemOf("forward"), cluster: clusterOf({ ranks: 3 }) };
    expect(computeFloor.candidateDegrees(problem)).toEqual([]);
    expect(() => computeFloor.compile(problem, { heads: 3 })).toThrow(
      "invalid ranks: 3 (the compute floor splits 4 heads evenly)",
    );
  });
});

describe("megatron-attention on the engine", () => {
  it.each([1, 2, 4])("gives what non-parallel attention gives, with %i kv heads", async (kvHeads) => {
    const problem = problemOf("forward", kvHeads);
    const expected = await new ReferenceStore(undefined).of(problem, 3);
    const saved = { o: Float32Array.from(expected.o), lse: Float32Array.from(expected.lse) };
    for (const pass of ["forward", "backward"] as const) {
      const compiled = compileWith(strategyNamed("megatron-attention"), { ...problem, pass });
      const { outputs } = await runHere(compiled, { seed: 3, ...(pass === "backward" && { saved }) });
      for (const error of Object.values(errorsOf(pass, outputs, expected))) expect(error).toBeLessThan(3e-6);
    }
  });
});

describe("measured steps", () => {
  it("are compared with the floor of the same repeat, and with predictions", () => {
    const predictions = {
      steps: [{ pass: "forward", mix: "hybrid", variant: "hsap", stepMs: 99 }],
    } as unknown as StepPredictions;
    const steps = measuredSteps(trialsOf({ "compute-floor": 100, hsap: 110 }), predictions);
    expect(steps.map(({ strategy }) => strategy)).toEqual(["compute-floor", "hsap"]);
    expect(steps[0].floorRatio).toBeUndefined();
    expect(steps[1].floorRatio).toMatchObject({ samples: 3 });
    expect(steps[1].floorRatio?.estimate).toBeCloseTo(1.1, 10);
    expect(steps[1].wallMs).toBeCloseTo(121, 10);
    expect(steps[1].predictionError).toBeCloseTo(99 / 121 - 1, 10);
    expect(medianPredictionError(steps)).toBeCloseTo(1 - 99 / 121, 10);
  });

  it("are none where no floor was measured", () => {
    expect(measuredSteps(trialsOf({ ring: 3, hsap: 1 }))).toEqual([]);
  });

  it("reach targets or miss them", () => {
    const reached = checkTargets(measuredSteps(trialsOf({ "compute-floor": 100, hsap: 110, ring: 200, ulysses: 300 })));
    expect(reached.map(({ target, asked, holds }) => [target, asked, holds])).toEqual([
      ["hsap / compute floor", 1.15, true],
      ["hsap / best baseline (ring)", 0.75, true],
      ["hsap / ulysses", 0.5, true],
    ]);
    const missed = checkTargets(measuredSteps(trialsOf({ "compute-floor": 100, hsap: 120, ring: 155, ulysses: 160 })));
    expect(missed.map(({ holds }) => holds)).toEqual([false, false, false]);
    // Where the best baseline is near the floor, only the floor counts; on one document, it counts itself.
    expect(checkTargets(measuredSteps(trialsOf({ "compute-floor": 100, hsap: 110, ring: 140 })))).toHaveLength(1);
    const single = checkTargets(measuredSteps(trialsOf({ "compute-floor": 100, hsap: 110, ring: 105 }, "single")));
    expect(single).toMatchObject([{ target: "hsap / best baseline (ring)", asked: 1.02, holds: false }]);
  });
});

describe("what calibration on a cluster writes", () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "hsap-steps-"));
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  it("is a hardware file by which the simulator predicts ranks that share a link", () => {
    const link = { latencyUs: 10, bandwidthGBps: 0.02, messages: [], aloneGBps: 0.06 };
    const profile: ClusterProfile = {
      ...{ device: "a processor", library: "an MPI", nodes: 2, ranksPerNode: 2, node: undefined, network: link },
      ...{ teraflops: { forward: 0.02, backward: 0.02 }, rankTeraflops: [], slowdown: { forward: 5, backward: 5 } },
    };
    const file = join(folder, "hardware.yaml");
    const timesOf = (slowdown: number) => {
      writeFileSync(file, clusterHardwareOf({ ...profile, slowdown: { forward: slowdown, backward: slowdown } }));
      const hardware = readHardware(file);
      expect(hardware.libraries["an MPI"].ranksPerNic).toBe(2);
      const from = presetCluster("local");
      const problem = { ...problemOf("forward"), cluster: clusterOf({ ranks: 4, ranksPerNode: 2, from }) };
      return simulate(computeFloor.compile(problem, { heads: 4 }), { hardware }).trace.durationUs;
    };
    expect(timesOf(10) / timesOf(5)).toBeCloseTo(2, 6);
  });

  it("keeps references where it is told, and reads them again", async () => {
    const problem = problemOf("forward");
    const first = await new ReferenceStore(folder).of(problem, 7);
    const again = await new ReferenceStore(folder).of({ ...problem, pass: "backward" }, 7);
    expect(again).toEqual(first);
    expect((await new ReferenceStore(folder).of(problem, 8)).o).not.toEqual(first.o);
  });
});
