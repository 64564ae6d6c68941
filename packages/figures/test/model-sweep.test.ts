import { type ModelTrial, modelTrialVersion } from "@hsap/bench";
import { describe, expect, it } from "vitest";
import { drawModelSweep } from "../src/index.ts";
import { marksOf, overlappingTexts, parseSvg, textBoxes } from "./drawn.ts";

const stageMs = { embedding: 1, layerForward: 1, loss: 1, layerBackward: 1, embeddingBackward: 1 };

/** A step that reaches `tflops`; without, it is out of memory where `gib` is given, and refused where it is not. */
function trialOf(
  changes: Partial<ModelTrial> & { mix?: string },
  tflops: number | undefined,
  gib?: number,
): ModelTrial {
  const { mix = "hybrid", ...others } = changes;
  const rate = tflops ?? 1;
  const predicted = {
    degrees: changes.degrees === "auto" ? { ulysses: 4, data: 2 } : { sap: 8 },
    ...{ recompute: "selective" as const, stageMs, optimiserMs: 1, stepMs: 1e5 / rate, tokensPerSecond: rate },
    ...{ tflopsPerDevice: rate, mfu: rate / 989, memory: { weights: 1, total: (gib ?? 40) * 2 ** 30 } },
  };
  return {
    ...{ experiment: "models", model: "7b", cluster: "h100-400g abc", ranks: 8, dtype: "bf16", lossChunk: 4096 },
    batch: { mix, seed: 1, documents: 9, tokens: 65536, lengthsDigest: "00" },
    ...{ recompute: ["selective", "full"], strategy: "hsap", weights: "sharded", degrees: "own" },
    ...{ schema: modelTrialVersion, environment: "e0", at: "2026-01-02T03:04:05.000Z", origin: "simulated" },
    key: JSON.stringify([changes, tflops]),
    device: { name: "H100 SXM", memoryGiB: 80, peakTflops: 989 },
    outcome:
      tflops !== undefined
        ? { kind: "fits", ...predicted }
        : gib !== undefined
          ? { kind: "out of memory", ...predicted }
          : { kind: "refused", reason: "invalid degree: ulysses=8 (must divide 52 heads)" },
    ...others,
  };
}

const trials = ["7b", "13b", "30b"].flatMap((model, size) =>
  ["hybrid", "single"].flatMap((mix) =>
    [8, 16, 32, 64].flatMap((ranks) => {
      const of = { model, mix, ranks, batch: { mix, seed: 1, documents: 9, tokens: 8192 * ranks, lengthsDigest: mix } };
      return [
        trialOf({ ...of, strategy: "hsap" }, 400),
        trialOf({ ...of, strategy: "hsap", degrees: "auto" }, 450),
        trialOf({ ...of, strategy: "colai-sp" }, undefined, 300),
        trialOf({ ...of, strategy: "ulysses" }, size === 2 ? undefined : 300),
        trialOf({ ...of, strategy: "megatron", weights: "own" }, 100),
      ];
    }),
  ),
);
const [figure] = drawModelSweep({ trials });

describe("the figure of a sweep over training steps", () => {
  it("keeps its texts on the page and apart, and has every coordinate", () => {
    expect(overlappingTexts(textBoxes(figure.svg))).toEqual([]);
    expect(figure.svg).not.toMatch(/NaN|undefined|Infinity/);
  });

  it("has a bar for what fits, a cross for what is out of memory, and nothing for what is refused", () => {
    const cells = 3 * 2 * 4;
    // hsap and megatron always, Ulysses for two of three models; memory once for all mixes, ColAI-SP's hollow.
    expect(marksOf(figure.svg, "rect", "rect")).toHaveLength(2 * cells + (2 * cells) / 3 + 3 * 4 * 3 + 2 * 4);
    expect(marksOf(figure.svg, "dot", "path")).toHaveLength(cells);
    const hollow = marksOf(figure.svg, "rect", "rect").filter((rect) => rect.getAttribute("fill") === "#ffffff");
    expect(hollow).toHaveLength(3 * 4);
  });

  it("says that times are simulated, and names models, mixes, strategies and ranks", () => {
    const texts = textBoxes(figure.svg).map(({ text }) => text);
    for (const text of ["megatron", "colai-sp", "ulysses", "hsap", "8", "64", "40 %"]) expect(texts).toContain(text);
    for (const text of ["7b, hybrid", "30b, single", "13b, memory"]) expect(texts.join("\n")).toContain(text);
    expect(parseSvg(figure.svg).querySelector("desc")?.textContent).toMatch(
      /^Simulated times on h100-400g, counted memory/,
    );
  });

  it("comes with a table of every best step, refusals included", () => {
    const [head, ...rows] = figure.data.text.trim().split("\n");
    expect(rows).toHaveLength(3 * 2 * 4 * 4);
    expect(head).toMatch(/^cluster,.*tokensPerSecond,.*totalBytes,.*reason$/);
    expect(rows.filter((row) => row.includes("must divide 52 heads"))).toHaveLength(8);
    expect(rows.filter((row) => row.includes(",out of memory,"))).toHaveLength(24);
    expect(rows.filter((row) => row.includes('"ulysses=4,data=2"') && row.includes(",450,"))).toHaveLength(24);
  });

  it("is one figure for each cluster", () => {
    const others = trials.map((trial) => ({ ...trial, cluster: "a100-40 abc" }));
    const names = drawModelSweep({ trials: [...trials, ...others] }).map(({ number, name }) => `${number} ${name}`);
    expect(names).toEqual(["6 models-h100-400g", "6 models-a100-40"]);
  });

  it("is not drawn of nothing", () => {
    expect(() => drawModelSweep({ trials: [trialOf({}, undefined)] })).toThrow("invalid steps: there are none to draw");
  });
});
