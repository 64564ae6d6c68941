import { presetCluster } from "@hsap/cluster";
import { mixPack, packedBatch } from "@hsap/workload";
import { describe, expect, it } from "vitest";
import { columnWidth } from "../src/drawing/page.ts";
import { pngOf } from "../src/drawing/png.ts";
import { type Figure, figuresOf } from "../src/index.ts";
import { overlappingTexts, parseSvg, textBoxes } from "./drawn.ts";
import { sampleInputs, sampleSteps } from "./sample-inputs.ts";
import { sampleSchedule } from "./sample-schedule.ts";

const inputs = sampleInputs();
const figures = figuresOf(inputs);

/** The same figures from inputs that strain them: one document, tiny documents, many ranks, one rank, large clusters. */
const strained = [
  ...figuresOf({ packing: { batch: packedBatch([5000]), documents: "one book" } }),
  ...figuresOf({ packing: { batch: packedBatch(new Array(300).fill(1)), documents: "single tokens" } }),
  ...figuresOf({
    packing: { batch: mixPack("magilaw", { tokens: 65536, seed: 3 }), documents: "a pretraining corpus" },
  }),
  ...figuresOf({ compilation: { schedule: sampleSchedule({ ranks: 1, ranksPerNode: 1 }) } }),
  ...figuresOf({ compilation: { schedule: sampleSchedule({ ranks: 3, ranksPerNode: 2 }) } }),
  ...figuresOf({ compilation: { schedule: sampleSchedule({ ranks: 64, ranksPerNode: 8 }) } }),
  ...figuresOf({ pipeline: { steps: sampleSteps(1), machine: "made-up times" } }),
  ...figuresOf({ pipeline: { steps: sampleSteps(12), machine: "made-up times" } }),
  ...["a100-200g", "h100-400g"].flatMap((name) => {
    const cluster = presetCluster(name);
    const degrees = [
      { name: "ulysses", size: 8 },
      { name: "sap", size: cluster.ranks / 8 },
    ];
    return figuresOf({ topology: { cluster, strategy: "hsap", degrees } });
  }),
];

const cases: [string, Figure][] = [
  ...figures.map((figure): [string, Figure] => [`figure ${figure.number}`, figure]),
  ...strained.map((figure, i): [string, Figure] => [`strained figure ${figure.number} (${i})`, figure]),
];

describe("every figure", () => {
  it("is drawn, in the paper's order", () => {
    expect(figures.map(({ number, name }) => `${number} ${name}`)).toEqual([
      "1 packing",
      "2 pipeline",
      "3 compilation",
      "4 topology",
      "5 evaluation",
    ]);
  });

  it.each(cases)("has a title, a caption and a legend: %s", (_, { svg }) => {
    const root = parseSvg(svg);
    expect(root.querySelector("title")?.textContent).not.toBe("");
    expect(root.querySelector("desc")?.textContent?.length).toBeGreaterThan(40);
    expect(root.querySelectorAll("g.legend text").length).toBeGreaterThan(1);
  });

  it.each(cases)("is one self-contained SVG without unnumbered coordinates: %s", (_, { svg }) => {
    expect(svg.match(/<svg/g)).toHaveLength(1);
    expect(svg).not.toMatch(/NaN|undefined|Infinity|url\(|<style|href|class="plot/);
  });

  it.each(cases)("is set in at least 7 points at the width of its column: %s", (_, { svg }) => {
    const root = parseSvg(svg);
    const [, , pageWidth] = (root.getAttribute("viewBox") ?? "").split(" ").map(Number);
    const printedWidth = (Number.parseFloat(root.getAttribute("width") ?? "") / 25.4) * 72;
    expect(printedWidth).toBeCloseTo(columnWidth.double, 0);
    const smallest = Math.min(...textBoxes(svg).map(({ fontSize }) => (fontSize * printedWidth) / pageWidth));
    expect(smallest).toBeGreaterThanOrEqual(7);
  });

  it.each(cases)("keeps its text on the page: %s", (_, { svg }) => {
    const [x, y, width, height] = (parseSvg(svg).getAttribute("viewBox") ?? "").split(" ").map(Number);
    const outside = textBoxes(svg).filter(
      ({ left, right, top, bottom }) => left < x || right > x + width || top < y || bottom > y + height,
    );
    expect(outside).toEqual([]);
  });

  it.each(cases)("lets no text cover another: %s", (_, { svg }) => {
    expect(overlappingTexts(textBoxes(svg))).toEqual([]);
  });

  it("has the same bytes when drawn again", () => {
    expect(figuresOf(sampleInputs())).toEqual(figures);
  });

  it("has the same pixels when rendered again, at 300 dots per inch", () => {
    for (const { svg } of figures) {
      const png = Buffer.from(pngOf(svg));
      expect(png.subarray(1, 4).toString()).toBe("PNG");
      // Width stands in the header, 16 bytes in.
      expect(png.readUInt32BE(16)).toBeCloseTo((178 / 25.4) * 300, -1);
      expect(png.equals(Buffer.from(pngOf(svg)))).toBe(true);
    }
  });
});

describe("times", () => {
  it("are called measured or simulated after their trace", () => {
    const steps = inputs.pipeline.steps;
    const measured = steps.map((step) => ({ ...step, trace: { ...step.trace, origin: "measured" as const } }));
    const words = (svg: string) => new Set(svg.match(/measured|simulated/g));
    expect(words(figures[1].svg)).toEqual(new Set(["simulated"]));
    expect(words(figuresOf({ pipeline: { ...inputs.pipeline, steps: measured } })[0].svg)).toEqual(
      new Set(["measured"]),
    );
  });

  it("are told apart from counts in the evaluation, and counts are called counted elsewhere", () => {
    const texts = textBoxes(figures[4].svg).map(({ text }) => text);
    expect(texts.filter((text) => text === "measured")).toHaveLength(4);
    expect(texts).toContain("counted");
    expect(figures[0].svg).toContain("counted");
    expect(figures[2].svg).toContain("counted");
  });
});
