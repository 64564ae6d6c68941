import { describe, expect, it } from "vitest";
import { summarize } from "../src/evaluation/summary.ts";
import { drawEvaluation } from "../src/index.ts";
import { marksOf, textBoxes } from "./drawn.ts";
import { syntheticTrials } from "./synthetic-trials.ts";

const sweep = { strategies: ["hsap", "ring"], mixes: ["hybrid", "code", "single"], repeats: 5 };
const trials = syntheticTrials(sweep);

describe("summaries of trials", () => {
  it("have one row for each strategy variant and mix", () => {
    expect(summarize(trials).map(({ mix, variant }) => `${mix} ${variant}`)).toEqual([
      "hybrid hsap ulysses=2 sap=4",
      "hybrid ring",
      "code hsap ulysses=2 sap=4",
      "code ring",
      "single hsap ulysses=2 sap=4",
      "single ring",
    ]);
  });

  it("take the median throughput, with an interval around it", () => {
    const [{ throughput }] = summarize(trials);
    const walls = trials
      .filter(({ problem, strategy }) => problem.mix === "hybrid" && strategy === "hsap" && problem.pass === "forward")
      .map(({ wallMs }) => wallMs);
    const middle = [...walls].sort((a, b) => a - b)[2];
    const { wall } = throughput.forward!;
    // 4 * area * heads * headDim operations.
    expect(wall.estimate).toBeCloseTo((4 * 12e6 * 16 * 64) / (middle / 1000) / 1e9, 6);
    expect(wall.low).toBeLessThanOrEqual(wall.estimate);
    expect(wall.high).toBeGreaterThanOrEqual(wall.estimate);
  });

  it("count 2.5 times the operations in the backward pass", () => {
    const [{ throughput }] = summarize(trials);
    // The made-up backward pass takes 2.5 times as long, but for rounding in the last digits.
    expect(throughput.backward?.criticalPath.estimate).toBeGreaterThan(0.9 * throughput.forward!.criticalPath.estimate);
    expect(throughput.backward?.criticalPath.estimate).toBeLessThan(1.1 * throughput.forward!.criticalPath.estimate);
  });

  it("leave out trials that broke a rule, were inexact or gave other bits", () => {
    const faults = [{ verified: false }, { error: { o: 1e-3 } }, { sameBits: false }];
    const wrong = trials.map((trial, i) => (trial.strategy === "ring" ? { ...trial, ...faults[i % 3] } : trial));
    expect(summarize(wrong).every(({ strategy }) => strategy === "hsap")).toBe(true);
    expect(drawEvaluation({ trials: wrong, machine: "made-up times" }).svg).toContain("30 wrong ones are left out");
  });

  it("name the ranks of a variant where others have more", () => {
    const single = syntheticTrials({ ...sweep, strategies: ["reference"] }).map((trial) => ({ ...trial, ranks: 1 }));
    const names = summarize([...trials, ...single]).map(({ variant }) => variant);
    expect(names).toContain("reference (1 rank)");
    expect(names).toContain("ring");
  });
});

describe("figure 5", () => {
  const { svg, data } = drawEvaluation({ trials, machine: "made-up times" });
  const rows = sweep.strategies.length * sweep.mixes.length;

  it("tells wall time, critical path and longest chain apart by shape and colour, in both passes", () => {
    const dots = marksOf(svg, "dot", "circle");
    const diamonds = marksOf(svg, "dot", "path");
    const inColour = (marks: readonly Element[], name: string, colour: string) =>
      marks.filter((mark) => mark.getAttribute(name) === colour).length;
    expect(inColour(dots, "fill", "#0072B2")).toBe(2 * rows);
    expect(inColour(diamonds, "stroke", "#D55E00")).toBe(3 * rows);
    expect(inColour(diamonds, "stroke", "#009E73")).toBe(2 * rows);
    // Counted: the mean received and the area's balance as dots, what comes from other nodes as diamonds.
    expect(inColour(dots, "fill", "#000000")).toBe(2 * rows);
    expect(inColour(diamonds, "stroke", "#000000")).toBe(rows);
  });

  it("names the mixes, what they are, and every variant under each", () => {
    const texts = textBoxes(svg).map(({ text }) => text);
    expect(texts).toContain("code: source files of one repository");
    expect(texts.filter((text) => text === "ring")).toHaveLength(sweep.mixes.length);
  });

  it("has no column for a pass that was not run", () => {
    const forward = trials.filter(({ problem }) => problem.pass === "forward");
    const texts = textBoxes(drawEvaluation({ trials: forward, machine: "made-up times" }).svg).map(({ text }) => text);
    expect(texts.some((text) => text.includes("backward"))).toBe(false);
  });

  it("puts every number beside the picture", () => {
    const [header, ...lines] = data.text.trim().split("\n");
    expect(header.split(",")).toContain("forwardWallGflopsLow");
    expect(lines).toHaveLength(rows);
  });

  it("refuses to be drawn from nothing", () => {
    expect(() => drawEvaluation({ trials: [], machine: "none" })).toThrow(
      "invalid trials: none is without fault (run the experiment first)",
    );
  });
});
