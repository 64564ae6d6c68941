import { type ModelTrial, modelTrialVersion } from "@hsap/bench";
import { describe, expect, it } from "vitest";
import { drawModelLengths } from "../src/index.ts";
import { overlappingTexts, parseSvg, textBoxes } from "./drawn.ts";

const stageMs = { embedding: 1, layerForward: 1, loss: 1, layerBackward: 1, embeddingBackward: 1 };

/** A step over documents of one length that reaches `tflops` with so many data groups, or is out of memory. */
function trialOf(length: number, data: number, tflops: number, kind: "fits" | "out of memory" = "fits"): ModelTrial {
  const memory = { total: (kind === "fits" ? 30 : 45) * 2 ** 30 };
  const rates = { tokensPerSecond: tflops, tflopsPerDevice: tflops, mfu: tflops / 312, stepMs: 1e5 / tflops };
  return {
    ...{ experiment: "lengths", model: "7b", cluster: "a100-40 abc", ranks: 32, dtype: "bf16", lossChunk: 4096 },
    batch: { mix: `4 x ${length}`, seed: 1, documents: 4, tokens: 4 * length, lengthsDigest: "00" },
    ...{ recompute: ["selective"], strategy: "megatron", weights: "own", degrees: { data } },
    ...{ schema: modelTrialVersion, environment: "e0", at: "2026-01-02T03:04:05.000Z", origin: "simulated" },
    ...{ key: `${length} ${data}`, device: { name: "A100", memoryGiB: 40, peakTflops: 312 } },
    outcome: { kind, degrees: { data }, recompute: "selective", stageMs, optimiserMs: 1, memory, ...rates },
  };
}

const trials = [
  trialOf(8192, 4, 110),
  trialOf(8192, 2, 90),
  trialOf(65536, 4, 140),
  trialOf(262144, 1, 113, "out of memory"),
];

describe("the figure of steps by length", () => {
  it("has the best step of each length, hollow where none fits, and the numbers beside it", () => {
    const { svg, data, number } = drawModelLengths({ trials });
    const circles = [...parseSvg(svg).querySelectorAll('g[aria-label="dot"] circle')];
    expect(circles).toHaveLength(2 * 3);
    expect(circles.filter((circle) => circle.getAttribute("fill") === "#ffffff")).toHaveLength(2);
    expect(data.text.trim().split("\n")).toHaveLength(1 + 3);
    expect(number).toBe(9);
    const texts = textBoxes(svg).map(({ text }) => text);
    for (const text of ["megatron", "8k", "64k", "256k"]) expect(texts).toContain(text);
    expect(overlappingTexts(textBoxes(svg))).toEqual([]);
  });

  it("has published rates beside them", () => {
    const published = [8192, 65536].map((tokens) => ({ tokens, strategy: "megatron", tflopsPerDevice: 106 }));
    const { svg } = drawModelLengths({ trials, published });
    expect(parseSvg(svg).querySelectorAll('g[aria-label="line"][stroke-dasharray] path')).toHaveLength(1);
  });

  it("is not drawn of nothing", () => {
    expect(() => drawModelLengths({ trials: [] })).toThrow("invalid steps: there are none to draw");
  });
});
