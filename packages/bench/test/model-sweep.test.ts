import { mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { experimentKind, experimentNames, readExperiment } from "../src/experiment/experiment-file.ts";
import { bestSteps } from "../src/model-sweep/best-steps.ts";
import { parseModelSweep, readModelSweep } from "../src/model-sweep/model-sweep-file.ts";
import { runModelSweep } from "../src/model-sweep/model-sweep-run.ts";
import { type ModelTrial, readModelTrials } from "../src/model-sweep/model-trial.ts";
import { plannedSteps } from "../src/model-sweep/planned-steps.ts";
import { readEnvironments } from "../src/results/environment.ts";
import { lockFolder } from "../src/results/folder-lock.ts";
import type { ResumeOptions } from "../src/results/make-missing.ts";

const text = `
title: Small models
claim: They end.
baseline: ulysses
kind: simulated model steps
sweep:
  clusters: [h100-400g, small.yaml]
  models: [tiny]
  ranks: [4]
  mixes: [single]
  tokensPerRank: 512
  seeds: [1]
  dtype: bf16
  lossChunk: 256
  recompute: [none, selective, full]
  strategies:
    - { strategy: megatron, degrees: { tensor: 4 } }
    - { strategy: ulysses, degrees: { ulysses: 4 } }
    - { strategy: ring, degrees: { ring: 3 } }
profiles:
  smoke: {}
  other: { mixes: [code], seeds: [1, 2] }
`;

const smallCluster = (memoryGiB: number) => `
name: small
levels: [{ name: link, size: 8, bandwidthGBps: { value: 100, source: test }, latencyUs: { value: 1, source: test } }]
device:
  name: H100 SXM
  dtype: bf16
  peakTflops: { value: 989, source: test }
  memoryGiB: { value: ${memoryGiB}, source: test }
  memoryBandwidthGBps: { value: 3350, source: test }
`;

let folder: string;
let file: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "hsap-models-"));
  file = join(folder, "trials.jsonl");
  // A hundred kilobytes hold not even the weights.
  writeFileSync(join(folder, "small.yaml"), smallCluster(0.0001));
});

afterEach(() => rmSync(folder, { recursive: true }));

const parse = (of = text, profile = "smoke") =>
  parseModelSweep(of, { name: "small", profile, file: join(folder, "experiment.yaml") });
const predict = (options: Partial<ResumeOptions> = {}, of = text) =>
  runModelSweep(parse(of), { folder, arguments: ["a test"], ...options });
const outcomes = (trials: readonly ModelTrial[]) =>
  trials.map(({ cluster, strategy, outcome }) => [cluster.split(" ")[0], strategy, outcome.kind]);

describe("the file of a model sweep", () => {
  test("gives a profile all values of the sweep, its own first, and clusters beside the file", () => {
    const { sweep } = parse(text, "other");
    expect(sweep.mixes).toEqual(["code"]);
    expect(sweep.seeds).toEqual([1, 2]);
    expect(sweep.clusters.map(({ name }) => name)).toEqual(["h100-400g", "small"]);
  });

  test.each([
    ["an unknown model", text.replace("[tiny]", "[8b]"), 'invalid sweep.models.0: "8b"'],
    ["an unknown way to recompute", text.replace("full]", "most]"), 'invalid sweep.recompute.2: "most"'],
    ["another kind", text.replace("simulated model steps", "trials"), 'invalid kind: "trials"'],
    ["a value that neither part gives", text.replace("  seeds: [1]\n", ""), "missing seeds"],
    ["an unknown cluster", text.replace("h100-400g", "h100"), "unknown cluster: h100"],
  ])("is refused with %s, in one line", (_, of, message) => {
    expect(() => parse(of)).toThrow(message);
    expect(() => parse(of)).toThrow(/^[^\n]*$/);
  });

  test("is refused without the memory of its devices, as nothing would be known to fit", () => {
    expect(() => parse(text.replace("h100-400g", "local"))).toThrow(/^unknown memory: /);
  });

  test("is told from a file of measured trials, both ways", () => {
    const kinds = experimentNames().map((name) => [name, experimentKind(name)] as const);
    expect(kinds).toContainEqual(["models", "simulated model steps"]);
    expect(kinds).toContainEqual(["evaluation", "measured trials"]);
    expect(() => readModelSweep("evaluation", "short")).toThrow(/^missing kind: /);
    expect(() => readExperiment("models", "short")).toThrow(/^invalid kind: /);
  });

  test.each(["smoke", "short", "full", "wide"])(
    "of this project has a valid profile %s, with its baseline",
    (profile) => {
      const { sweep, baseline } = readModelSweep("models", profile);
      expect(sweep.strategies.map(({ strategy }) => strategy)).toContain(baseline);
    },
  );
});

describe("the experiment by lengths", () => {
  test.each(["smoke", "short", "one-sequence", "full"])(
    "has a step of each strategy for every length of its profile %s, whose groups each have a document",
    (profile) => {
      const { sweep } = readModelSweep("lengths", profile);
      for (const mix of sweep.mixes) {
        if (typeof mix === "string") throw new Error(`${mix} has no length`);
        const possible = sweep.strategies.filter(
          ({ degrees }) => typeof degrees === "object" && (degrees.data ?? 1) <= mix.documents,
        );
        expect(new Set(possible.map(({ strategy }) => strategy))).toEqual(
          new Set(["megatron", "ulysses", "colai-sp", "hsap"]),
        );
      }
    },
  );
});

describe("the plan of a model sweep", () => {
  test("has a step for every cluster, model, batch and variant, each with a key of its own", () => {
    const steps = plannedSteps(parse(text.replace("{ ring: 3 }", "fastest"), "other"));
    expect(steps).toHaveLength(2 * 2 * 3);
    expect(new Set(steps.map(({ key }) => key)).size).toBe(steps.length);
    expect(new Set(steps.map(({ inputs }) => `${inputs.strategy} ${inputs.weights}`))).toEqual(
      new Set(["megatron own", "ulysses sharded", "ring sharded"]),
    );
  });

  test("has documents of one length where a sweep names them instead of a mix, and then needs no tokens of a rank", () => {
    const equal = text.replace(/mixes: \[.*\]/, "mixes: [{ documents: 3, length: 50 }]");
    const [{ problem, inputs }] = plannedSteps(parse(equal.replace(/ +tokensPerRank: .*\n/, "")));
    expect([...problem.batch.cuSeqlens]).toEqual([0, 50, 100, 150]);
    expect(inputs.batch).toMatchObject({ mix: "3 x 50", documents: 3, tokens: 150 });
    expect(() => plannedSteps(parse(text.replace(/ +tokensPerRank: .*\n/, "")))).toThrow(/^missing tokensPerRank: /);
  });

  test("refuses degrees that a strategy does not have", () => {
    const wrong = text.replace("{ ring: 3 }", "{ rings: 4 }");
    expect(() => plannedSteps(parse(wrong))).toThrow(/^unknown degree: rings \(ring takes tensor, ring, data\)/);
  });
});

describe("a model sweep", () => {
  test("states what fits, what is out of memory and what is refused as results, with the environment beside them", async () => {
    const { trials, predictedNow, environment } = await predict();
    expect(predictedNow).toBe(6);
    expect(outcomes(trials)).toEqual([
      ["h100-400g", "megatron", "fits"],
      ["h100-400g", "ulysses", "fits"],
      ["h100-400g", "ring", "refused"],
      ["small", "megatron", "out of memory"],
      ["small", "ulysses", "out of memory"],
      ["small", "ring", "refused"],
    ]);
    expect(readModelTrials(file).trials).toEqual(trials);
    expect(readEnvironments(join(folder, "environment.json"))).toEqual([environment]);
    expect(new Set(trials.map(({ origin }) => origin))).toEqual(new Set(["simulated"]));
  });

  test("computes again only as much as it must to fit, and counts memory by kind", async () => {
    const ofUlysses = async () => {
      const { trials } = await predict();
      return trials.flatMap(({ strategy, outcome }) =>
        strategy === "ulysses" && outcome.kind !== "refused" ? [outcome] : [],
      );
    };
    const [large, tooSmall] = await ofUlysses();
    expect([large.recompute, tooSmall.recompute]).toEqual(["none", "full"]);
    const { total, ...kinds } = large.memory;
    expect(Object.values(kinds).reduce((sum, bytes) => sum + bytes, 0)).toBe(total);
    writeFileSync(join(folder, "small.yaml"), smallCluster((total - 1) / 2 ** 30));
    const [, small] = await ofUlysses();
    expect([small.kind, small.recompute]).toEqual(["fits", "selective"]);
    expect(small.memory.total).toBeLessThan(total);
  });

  test("predicts nothing that is already there, on whatever machine it was", async () => {
    await predict();
    const before = readFileSync(file);
    const notes: string[] = [];
    expect((await predict({ onNote: (note) => notes.push(note) })).predictedNow).toBe(0);
    expect(readFileSync(file).equals(before)).toBe(true);
    expect(notes).toEqual(["resumed: 6 of 6 steps are already there"]);
  });

  test("predicts anew what other code predicted, and what was cut off, and says so", async () => {
    await predict();
    const lines = readFileSync(file, "utf8").split("\n");
    lines[0] = lines[0].replace(/"environment":"[0-9a-f]+"/, '"environment":"other"');
    writeFileSync(file, lines.join("\n"));
    truncateSync(file, readFileSync(file).length - 100);
    const notes: string[] = [];
    const { predictedNow, environment, trials } = await predict({ onNote: (note) => notes.push(note) });
    expect(predictedNow).toBe(2);
    expect(notes).toEqual([
      `left out: line 6 of ${file} was cut off by a run that was killed`,
      "predicted anew: 1 steps there come from other code and cannot be compared",
      "resumed: 4 of 6 steps are already there",
    ]);
    expect(new Set(trials.map((trial) => trial.environment))).toEqual(new Set([environment.id]));
  });

  test("keeps what it has when it is interrupted, and goes on from there", async () => {
    const controller = new AbortController();
    const interrupted = predict({
      signal: controller.signal,
      onProgress: ({ trials }) => {
        if (trials === 4) controller.abort();
      },
    });
    await expect(interrupted).rejects.toThrow(/abort/);
    expect(readModelTrials(file).trials).toHaveLength(4);
    expect((await predict()).predictedNow).toBe(2);
  });

  test("refuses a folder that another run writes into, or that holds other trials, and leaves it as it is", async () => {
    await predict();
    const lock = lockFolder(folder);
    await expect(predict()).rejects.toThrow(/^results in use: /);
    lock.release();
    writeFileSync(file, '{"schema":"hsap-trial/1"}\n');
    await expect(predict()).rejects.toThrow(/^unknown trial schema: "hsap-trial\/1" at /);
    expect(readFileSync(file, "utf8")).toBe('{"schema":"hsap-trial/1"}\n');
  });
});

describe("variants of a strategy", () => {
  test("may gather weights a layer ahead and keep received keys and values, and are trials of their own", async () => {
    const variants = [
      "{ strategy: hsap, degrees: { ulysses: 2, sap: 2 } }",
      "{ strategy: hsap, degrees: { ulysses: 2, sap: 2 }, prefetch: true }",
      "{ strategy: hsap, degrees: { ulysses: 2, sap: 2 }, receivedKv: keep }",
    ];
    const of = text
      .replace("[none, selective, full]", "[selective]")
      .replace(/(strategies:\n)[\s\S]*(profiles)/, `$1${variants.map((line) => `    - ${line}\n`).join("")}$2`);
    const { trials } = await predict({}, of);
    const [usual, ahead, kept] = trials.map(({ outcome }) => (outcome.kind === "refused" ? undefined : outcome));
    expect(new Set(trials.map(({ key }) => key)).size).toBe(6);
    expect(trials.map(({ prefetch, receivedKv }) => prefetch ?? receivedKv).slice(0, 3)).toEqual([
      ...[undefined, true, "keep"],
    ]);
    // Fetched ahead, two layers' weights lie gathered; kept, activations are more.
    expect(ahead?.memory.working).toBeGreaterThan(usual?.memory.working ?? 0);
    expect(kept?.memory.activations).toBeGreaterThan(usual?.memory.activations ?? 0);
  });
});

describe("the best steps", () => {
  test("are the fastest that fit, or else what needs least memory, or else a refusal", async () => {
    const variants = "{ strategy: ulysses }\n    - { strategy: ulysses, degrees: auto }";
    const { trials } = await predict({}, text.replace("{ strategy: ulysses, degrees: { ulysses: 4 } }", variants));
    const steps = bestSteps(trials);
    expect(steps.map(({ cluster, strategy }) => `${cluster} ${strategy}`)).toEqual([
      ...["h100-400g megatron", "h100-400g ulysses", "h100-400g ring"],
      ...["small megatron", "small ulysses", "small ring"],
    ]);
    for (const { best, own, cluster, strategy } of steps) {
      const group = trials.filter((trial) => trial.cluster.startsWith(cluster) && trial.strategy === strategy);
      expect(own).toBe(group.find(({ degrees }) => degrees === "own"));
      const fits = group.flatMap(({ outcome }) => (outcome.kind === "fits" ? [outcome.stepMs] : []));
      if (fits.length > 0) expect(best.outcome).toMatchObject({ kind: "fits", stepMs: Math.min(...fits) });
      else expect(best.outcome.kind).toBe(strategy === "ring" ? "refused" : "out of memory");
    }
    // Own and chosen degrees are two trials of one strategy.
    expect(trials.filter(({ strategy }) => strategy === "ulysses")).toHaveLength(4);
    const [own, chosen] = trials.filter(({ strategy }) => strategy === "ulysses");
    expect([own.degrees, chosen.degrees]).toEqual(["own", "auto"]);
    expect(
      chosen.outcome.kind === "fits" && own.outcome.kind === "fits" && chosen.outcome.stepMs <= own.outcome.stepMs,
    ).toBe(true);
  });
});
