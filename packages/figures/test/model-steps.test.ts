import { describe, expect, it } from "vitest";
import { type DrawnStep, drawModelSteps, type ModelStepsInput } from "../src/index.ts";
import { overlappingTexts, parseSvg, textBoxes } from "./drawn.ts";

const stepOf = (tflops: number, gib: number): DrawnStep => ({
  ...{ tflopsPerDevice: tflops, memoryBytes: gib * 2 ** 30, fits: gib <= 80 },
});

const input: ModelStepsInput = {
  ...{ title: "7b on 32 ranks", documents: "Documents of one length.", axis: "tokens of a document", deviceGiB: 80 },
  rows: [8192, 65536, 262144].flatMap((tokens, i) => [
    { tokens, strategy: "ulysses", step: stepOf(150, 20 + i) },
    { tokens, strategy: "megatron", step: stepOf(50 + 30 * i, 30 * (i + 1)) },
  ]),
};

describe("the figure of a model's steps", () => {
  it("keeps its texts on the page and apart, and has every coordinate", () => {
    const svg = drawModelSteps(input);
    expect(overlappingTexts(textBoxes(svg))).toEqual([]);
    expect(svg).not.toMatch(/NaN|undefined|Infinity/);
  });

  it("has a mark for every step in both panels, hollow where it does not fit", () => {
    const circles = [...parseSvg(drawModelSteps(input)).querySelectorAll('g[aria-label="dot"] circle')];
    expect(circles).toHaveLength(12);
    expect(circles.filter((circle) => circle.getAttribute("fill") === "#ffffff")).toHaveLength(2);
  });

  it("names strategies, lengths, and that times are simulated", () => {
    const svg = drawModelSteps(input);
    const texts = textBoxes(svg).map(({ text }) => text);
    for (const text of ["ulysses", "megatron", "8k", "64k", "256k"]) expect(texts).toContain(text);
    expect(parseSvg(svg).querySelector("desc")?.textContent).toMatch(
      /^Simulated times, counted memory\..*80 GiB; more than twice that is cut off\.$/,
    );
  });

  it("has published rates as dashed lines beside the rates, as high as they are", () => {
    const published = [8192, 65536].map((tokens, i) => ({ tokens, strategy: "ulysses", tflopsPerDevice: 400 + i }));
    const outOfMemory = { tokens: 262144, strategy: "ulysses" };
    const svg = drawModelSteps({ ...input, published: [...published, outOfMemory] });
    const dashed = parseSvg(svg).querySelectorAll('g[aria-label="line"][stroke-dasharray] path');
    expect([...dashed].map((path) => path.getAttribute("d")?.split(/[ML]/).length)).toEqual([3]);
    expect(svg).toContain("Dashed: published.");
    expect(svg).not.toMatch(/NaN|undefined|Infinity/);
    expect(drawModelSteps(input)).not.toContain("published");
  });

  it("is not drawn of nothing", () => {
    expect(() => drawModelSteps({ ...input, rows: [] })).toThrow("invalid steps: there are none to draw");
  });
});
