import { mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { clusterOf, presetCluster } from "@hsap/cluster";
import { longestStep, MemoryCount, type ModelProblem, modelNamed } from "@hsap/model";
import { layerStrategyNamed } from "@hsap/training";
import { packedBatch } from "@hsap/workload";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { experimentKind, readExperiment } from "../src/experiment/experiment-file.ts";
import { runLongestSweep } from "../src/longest/longest-run.ts";
import { parseLongestSweep, readLongestSweep } from "../src/longest/longest-sweep-file.ts";
import { readLongestTrials } from "../src/longest/longest-trial.ts";
import { longestFitting } from "../src/model/longest-fitting.ts";
import type { ResumeOptions } from "../src/results/make-missing.ts";

const text = `
title: Small models
claim: They fit.
baseline: ulysses
kind: longest model steps
sweep:
  clusters: [small.yaml, smaller.yaml]
  models: [tiny]
  ranks: [4]
  grainOfRank: 64
  dtype: bf16
  lossChunk: 256
  recompute: [selective, full]
  weights: [sharded, replicated]
  strategies: [megatron, ulysses]
  degrees: most
profiles:
  smoke: {}
  eight: { ranks: [8] }
`;

const smallCluster = (name: string, memoryGiB: number) => `
name: ${name}
levels: [{ name: link, size: 8, bandwidthGBps: { value: 100, source: test }, latencyUs: { value: 1, source: test } }]
device:
  name: H100 SXM
  dtype: bf16
  peakTflops: { value: 989, source: test }
  memoryGiB: { value: ${memoryGiB}, source: test }
`;

let folder: string;
let file: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "hsap-longest-"));
  file = join(folder, "trials.jsonl");
  writeFileSync(join(folder, "small.yaml"), smallCluster("small", 0.01));
  // A hundred kilobytes hold not even the weights.
  writeFileSync(join(folder, "smaller.yaml"), smallCluster("smaller", 0.0001));
});

afterEach(() => rmSync(folder, { recursive: true }));

const parse = (profile = "smoke", of = text) =>
  parseLongestSweep(of, { name: "small", profile, file: join(folder, "experiment.yaml") });
const search = (options: Partial<ResumeOptions> = {}, profile = "smoke") =>
  runLongestSweep(parse(profile), { folder, arguments: ["a test"], ...options });

describe("the file of a sweep over longest steps", () => {
  test.each(["smoke", "short", "full", "wide"])("of this project has a valid profile %s", (profile) => {
    const { sweep, baseline } = readLongestSweep("longest", profile);
    expect(sweep.strategies).toContain(baseline);
    expect(sweep.clusters.every(({ device }) => (device.memoryGiB ?? 0) > 0)).toBe(true);
  });

  test("is told from other kinds, both ways", () => {
    expect(experimentKind("longest")).toBe("longest model steps");
    expect(() => readLongestSweep("models", "short")).toThrow(/^invalid kind: /);
    expect(() => readExperiment("longest", "short")).toThrow(/^invalid kind: /);
  });

  test.each([
    ["an unknown way to choose degrees", text.replace("degrees: most", "degrees: fastest"), "invalid sweep.degrees"],
    ["no ranks", text.replace("  ranks: [4]\n", ""), "missing ranks"],
    ["a device of unknown memory", text.replace("small.yaml", "local"), "unknown memory: "],
  ])("is refused with %s", (_, of, message) => {
    expect(() => parse("smoke", of)).toThrow(message);
  });
});

describe("a sweep over longest steps", () => {
  test("states what fits, and that nothing does, with memory by kind", async () => {
    const { trials, predictedNow } = await search();
    expect(predictedNow).toBe(2 * 2 * (1 + 2));
    expect(readLongestTrials(file).trials).toEqual(trials);
    for (const { cluster, device, grainOfRank, ranks, outcome } of trials) {
      const limit = device.memoryGiB * 2 ** 30;
      expect(outcome.kind).toBe(cluster.startsWith("smaller") ? "nothing fits" : "fits");
      if (outcome.kind === "refused") continue;
      expect(outcome.next.total).toBeGreaterThan(limit);
      if (outcome.kind !== "fits") continue;
      expect(outcome.tokens % (grainOfRank * ranks)).toBe(0);
      const { total, ...kinds } = outcome.memory;
      expect(total).toBeLessThanOrEqual(limit);
      expect(Object.values(kinds).reduce((sum, bytes) => sum + bytes, 0)).toBe(total);
    }
    expect(new Set(trials.map(({ strategy, weights }) => `${strategy} ${weights}`))).toEqual(
      new Set(["megatron own", "ulysses sharded", "ulysses replicated"]),
    );
  });

  test("states a refusal as a result", async () => {
    const { trials } = await search({}, "eight");
    const refused = trials.filter(({ outcome }) => outcome.kind === "refused");
    expect(new Set(refused.map(({ strategy }) => strategy))).toEqual(new Set(["megatron"]));
    expect(refused[0].outcome).toMatchObject({ reason: expect.stringMatching(/^invalid degrees: most \(megatron/) });
  });

  test("goes on where it was interrupted, and searches nothing twice", async () => {
    const whole = await search();
    const lines = readFileSync(file, "utf8");
    rmSync(file);
    const controller = new AbortController();
    const interrupted = search({
      signal: controller.signal,
      onProgress: ({ trials }) => {
        if (trials === 5) controller.abort();
      },
    });
    await expect(interrupted).rejects.toThrow(/abort/);
    expect(readLongestTrials(file).trials).toHaveLength(5);
    truncateSync(file, readFileSync(file).length - 30);
    const notes: string[] = [];
    const rest = await search({ onNote: (note) => notes.push(note) });
    expect(rest.predictedNow).toBe(12 - 4);
    expect(notes[1]).toBe("resumed: 4 of 12 steps are already there");
    const outcomes = ({ trials }: typeof whole) => trials.map(({ key, outcome }) => ({ key, outcome }));
    expect(outcomes(rest)).toEqual(outcomes(whole));
    expect((await search()).predictedNow).toBe(0);
    expect(lines.trim().split("\n")).toHaveLength(12);
  });
});

describe("the longest step with the degrees that fit most", () => {
  test.each(["megatron", "ulysses", "ring", "hsap"])("is what trying all degrees of %s finds", (name) => {
    const cluster = clusterOf({ ranks: 4, from: presetCluster("h100-400g") });
    const [small, limitBytes, grain] = [{ ...cluster.device, memoryGiB: 1 }, 2 ** 30, 64 * 4];
    const problemAt = (tokens: number): ModelProblem => ({
      ...{ model: modelNamed("160m"), cluster: { ...cluster, device: small }, batch: packedBatch([tokens]) },
      ...{ dtype: "bf16", lossChunk: 256, recompute: "full" },
    });
    const strategy = layerStrategyNamed(name);
    const candidates = strategy.candidateDegrees(problemAt(grain));
    const given = { degrees: "most", grainOfRank: 64 } as const;
    const all = candidates.map((degrees) => {
      const memoryAt = (tokens: number) => {
        const schedules = strategy.compile(problemAt(tokens), degrees);
        return new MemoryCount(problemAt(tokens), () => schedules).most(problemAt(tokens));
      };
      return { degrees, ...longestStep(memoryAt, { limitBytes, grain }) };
    });
    const best = all.reduce((most, each) => (each.tokens > most.tokens ? each : most));
    expect(best.tokens).toBeGreaterThan(0);
    for (const likely of [undefined, candidates[candidates.length - 1], { ring: 3 }])
      expect(longestFitting(problemAt, strategy, { ...given, likely })).toEqual(best);
  });
});
