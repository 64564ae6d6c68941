import { mixPack, packedBatch } from "@hsap/workload";
import { describe, expect, it } from "vitest";
import { drawPacking } from "../src/index.ts";
import { marksOf, textBoxes } from "./drawn.ts";

const lengths = [300, 20, 5000, 1200];
const { svg, data } = drawPacking({ batch: packedBatch(lengths), documents: "four documents" });

describe("figure 1", () => {
  it("has a bar for each document as it arrives and one in the pack, and a triangle for each in the mask", () => {
    expect(marksOf(svg, "rect", "rect")).toHaveLength(2 * lengths.length);
    // One more: the causal mask of the whole pack, which lies below.
    expect(marksOf(svg, "line", "path")).toHaveLength(lengths.length + 1);
  });

  it("makes bars as long as their documents", () => {
    const widths = marksOf(svg, "rect", "rect").map((bar) => Number(bar.getAttribute("width")));
    const arrivals = widths.slice(0, lengths.length);
    for (const [i, width] of arrivals.entries()) expect(width / arrivals[2]).toBeCloseTo(lengths[i] / lengths[2], 2);
  });

  it("draws each document's triangle on the diagonal, one side as long as the document", () => {
    const [, ...triangles] = marksOf(svg, "line", "path").map((path) =>
      (path.getAttribute("d") ?? "")
        .split(/[MLZ]/)
        .filter(Boolean)
        .map((corner) => corner.split(",").map(Number)),
    );
    const sides = triangles.map((corners) => {
      const xs = corners.map(([x]) => x);
      const ys = corners.map(([, y]) => y);
      return [Math.max(...xs) - Math.min(...xs), Math.max(...ys) - Math.min(...ys)];
    });
    sides.forEach(([width, height], i) => {
      expect(width / sides[2][0]).toBeCloseTo(lengths[i] / lengths[2], 1);
      expect(height).toBeCloseTo(width, 1);
    });
  });

  it("says how much of one large causal mask is needed, counted by hand", () => {
    // 3 tokens and 1 token: 6 + 1 pairs of the 10 that 4 tokens have.
    const caption = drawPacking({ batch: packedBatch([3, 1]), documents: "two" }).svg;
    expect(caption).toContain("needs 70.0 % of the pairs");
  });

  it("names only the length classes that the pack has", () => {
    const texts = textBoxes(svg).map(({ text }) => text);
    expect(texts).toContain("4096 and more");
    expect(
      textBoxes(drawPacking({ batch: packedBatch([9, 9]), documents: "two" }).svg).map(({ text }) => text),
    ).not.toContain("4096 and more");
  });

  it("puts the documents beside the picture as CSV", () => {
    expect(data.ending).toBe("csv");
    expect(data.text.trim().split("\n")).toEqual([
      "document,begin,end,tokens,pairs",
      "0,0,300,300,45150",
      "1,300,320,20,210",
      "2,320,5320,5000,12502500",
      "3,5320,6520,1200,720600",
    ]);
  });

  it("draws a pack of a real mix with a row of data for each document", () => {
    const batch = mixPack("hybrid", { tokens: 16384, seed: 1 });
    const figure = drawPacking({ batch, documents: "a mix" });
    expect(figure.data.text.trim().split("\n")).toHaveLength(batch.cuSeqlens.length);
  });
});
