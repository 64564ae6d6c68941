import type { LossRun } from "@hsap/bench";
import { describe, expect, it } from "vitest";
import { drawTrainingLosses } from "../src/index.ts";
import { marksOf, overlappingTexts, parseSvg, textBoxes } from "./drawn.ts";

const runOf = (strategy: string, away: number, faithful = false): LossRun => ({
  ...{ experiment: "contamination", model: "tiny", mix: "instruct", tokens: 512, seed: 1, ranks: 2, ranksPerNode: 2 },
  ...{ steps: 50, strategy, faithful, schema: "hsap-training-run/1", key: `${strategy} ${faithful}` },
  ...{ environment: "e0", at: "2026-01-02T03:04:05.000Z", origin: "measured" },
  losses: Array.from({ length: 50 }, (_, i) => 5.5 - i / 20 + away * (1 + i)),
  gradientNorms: Array.from({ length: 50 }, () => 1),
});

const runs = [
  runOf("reference", 0),
  ...["ring", "zigzag", "striped", "hsap"].map((name, i) => runOf(name, (1 + i) * 1e-9)),
  ...["ring", "zigzag", "striped"].map((name, i) => runOf(name, (1 + i) * 1e-4, true)),
];
const figure = drawTrainingLosses({ runs, baseline: "reference" });

describe("the figure of training losses", () => {
  it("keeps its texts on the page and apart, and has every coordinate", () => {
    expect(overlappingTexts(textBoxes(figure.svg))).toEqual([]);
    expect(figure.svg).not.toMatch(/NaN|undefined|Infinity/);
  });

  it("has the losses of the baseline and of what crosses borders, and the distance of every run", () => {
    expect(marksOf(figure.svg, "line", "path")).toHaveLength(4 + 7);
    const texts = textBoxes(figure.svg).map(({ text }) => text);
    for (const text of ["reference", "hsap", "ring as published", "step"]) expect(texts).toContain(text);
    expect(parseSvg(figure.svg).querySelector("desc")?.textContent).toMatch(
      /^Measured: the tiny model, 50 steps of 512/,
    );
  });

  it("draws equal losses too, at the end of its axis", () => {
    const equal = drawTrainingLosses({ runs: [runs[0], { ...runs[0], strategy: "ring" }], baseline: "reference" });
    expect(equal.svg).not.toMatch(/NaN|undefined|Infinity/);
  });

  it("comes with a table of every step", () => {
    const lines = figure.data.text.trim().split("\n");
    expect(lines).toHaveLength(51);
    expect(lines[0]).toBe(
      "step,reference,ring,zigzag,striped,hsap,ring as published,zigzag as published,striped as published",
    );
  });

  it("is not drawn without the baseline, or of it alone", () => {
    expect(() => drawTrainingLosses({ runs: runs.slice(1), baseline: "reference" })).toThrow(/^missing baseline: /);
    expect(() => drawTrainingLosses({ runs: runs.slice(0, 1), baseline: "reference" })).toThrow(/^missing runs: /);
  });
});
