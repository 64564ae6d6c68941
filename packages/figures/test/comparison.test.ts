import { type Comparison, compareStrategies, strategies, strategyNamed } from "@hsap/bench";
import { clusterOf } from "@hsap/cluster";
import type { Problem } from "@hsap/schedule";
import { packedBatch } from "@hsap/workload";
import { beforeAll, describe, expect, it } from "vitest";
import { drawComparison } from "../src/index.ts";
import { marksOf, overlappingTexts, parseSvg, textBoxes } from "./drawn.ts";

const problemOf = (ranks: number): Problem => ({
  batch: packedBatch([40, 24, 9, 55]),
  shape: { heads: 4, kvHeads: 2, headDim: 64, dtype: "fp32" },
  cluster: clusterOf({ ranks, ranksPerNode: 2 }),
  mask: "causal",
  pass: "forward",
});

/** As if measured: row i took i + 2 ms. */
const timed = (comparison: Comparison): Comparison => ({
  ...comparison,
  bounds: { ...comparison.bounds, computeFloorMs: 1.5 },
  rows: comparison.rows.map((row, i) => ({
    ...row,
    measured: { wallMs: 50, criticalPathMs: i + 2, computationMs: 9, repeats: 1, threadsPerRank: 1, errors: {} },
  })),
});

let counted: Comparison;
let drawn: Record<string, string>;

beforeAll(async () => {
  counted = await compareStrategies(problemOf(4), { strategies });
  drawn = {
    counted: drawComparison(counted),
    measured: drawComparison(timed(counted)),
    "as published, measured": drawComparison(
      timed(await compareStrategies(problemOf(4), { strategies, faithful: true, all: true })),
    ),
    "one strategy on one rank": drawComparison(
      await compareStrategies(problemOf(1), { strategies: [strategyNamed("reference")] }),
    ),
  };
});

describe("the figure of a comparison", () => {
  it.each(["counted", "measured", "as published, measured", "one strategy on one rank"])(
    "keeps its texts on the page and apart, and has every coordinate: %s",
    (name) => {
      const svg = drawn[name];
      expect(overlappingTexts(textBoxes(svg))).toEqual([]);
      const [x, y, width, height] = (parseSvg(svg).getAttribute("viewBox") ?? "").split(" ").map(Number);
      const outside = textBoxes(svg).filter(
        ({ left, right, top, bottom }) => left < x || right > x + width || top < y || bottom > y + height,
      );
      expect(outside).toEqual([]);
      expect(svg).not.toMatch(/NaN|undefined|Infinity/);
    },
  );

  it("has a dot for each strategy in each column, and measured ones in a colour of their own", () => {
    const dots = (svg: string, fill: string) =>
      marksOf(svg, "dot", "circle").filter((mark) => mark.parentElement?.getAttribute("fill") === fill).length;
    const { rows } = counted;
    expect(dots(drawn.counted, "#000000")).toBe(4 * rows.length);
    expect(dots(drawn.counted, "#D55E00")).toBe(0);
    expect(dots(drawn.measured, "#000000")).toBe(4 * rows.length);
    expect(dots(drawn.measured, "#D55E00")).toBe(rows.length);
  });

  it("names the strategies in the order of the rows, and those that are not shown", () => {
    const texts = textBoxes(drawn.counted).map(({ text }) => text);
    const named = counted.rows.map(({ variant }) => variant);
    expect(texts.filter((text) => named.includes(text)).sort()).toEqual([...named].sort());
    expect(parseSvg(drawn.counted).querySelector("desc")?.textContent).toContain("too large: reference.");
  });

  it("says which strategies contaminate", () => {
    const caption = parseSvg(drawn["as published, measured"]).querySelector("desc")?.textContent;
    expect(caption).toMatch(/Contaminated across documents: [^.]*ring/);
  });

  it("is not drawn of nothing", () => {
    expect(() => drawComparison({ ...counted, rows: [] })).toThrow(
      "invalid comparison: no strategy is left to be shown",
    );
  });
});
