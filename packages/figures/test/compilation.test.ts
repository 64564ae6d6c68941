import { accountOf, areaOf, tileArea } from "@hsap/schedule";
import { packedBatch } from "@hsap/workload";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { decisionsOf } from "../src/compilation/decisions.ts";
import { tileCorners } from "../src/drawing/tile-shape.ts";
import { drawCompilation } from "../src/index.ts";
import { marksOf, textBoxes } from "./drawn.ts";
import { sampleSchedule } from "./sample-schedule.ts";

const schedule = sampleSchedule();
const decisions = decisionsOf(schedule);

describe("decisions read off a schedule", () => {
  it("hold every unmasked pair in exactly one tile", () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 1, max: 90 }), { minLength: 1, maxLength: 12 }),
        fc.integer({ min: 1, max: 6 }),
        (lengths, ranks) => {
          const sample = sampleSchedule({ batch: packedBatch(lengths), ranks, ranksPerNode: 2 });
          const area = decisionsOf(sample).tiles.reduce((sum, tile) => sum + tileArea(tile), 0);
          expect(area).toBe(areaOf(sample.problem));
        },
      ),
    );
  });

  it("name one owner for every token", () => {
    let next = 0;
    for (const { begin, end } of decisions.owners) {
      expect(begin).toBe(next);
      next = end;
    }
    expect(next).toBe(decisions.tokens);
  });

  it("count the bytes that the schedule's account counts, by rank and by level", () => {
    const account = accountOf(schedule);
    const received = decisions.loads.map(
      ({ insideNodeBytes, betweenNodesBytes }) => insideNodeBytes + betweenNodesBytes,
    );
    expect(received).toEqual([...account.receivedBytes.perRank]);
    const between = decisions.transfers.filter(({ level }) => level > 0).reduce((sum, { bytes }) => sum + bytes, 0);
    expect(between).toBe(account.betweenNodesBytes);
    expect(between).toBeGreaterThan(0);
  });
});

describe("the shape of a tile", () => {
  it("covers the tile's area, but for the half pairs on the diagonal", () => {
    const range = fc.tuple(fc.integer({ min: 0, max: 200 }), fc.integer({ min: 1, max: 200 }));
    fc.assert(
      fc.property(range, range, ([qBegin, queries], [kBegin, keys]) => {
        const qEnd = qBegin + queries;
        const kEnd = Math.min(kBegin + keys, qEnd);
        // Only tiles trimmed to pairs that attend.
        fc.pre(kBegin <= qBegin && kBegin < kEnd);
        const tile = { qBegin, qEnd, kBegin, kEnd, mask: "causal" as const };
        const onDiagonal = Math.max(0, kEnd - qBegin);
        expect(polygonArea(tileCorners(tile))).toBeCloseTo(tileArea(tile) - onDiagonal / 2, 6);
      }),
    );
  });
});

describe("figure 3", () => {
  const { svg, data } = drawCompilation({ schedule });

  it("has a shape for each tile, in as many colours as ranks compute", () => {
    const shapes = marksOf(svg, "line", "path");
    expect(shapes).toHaveLength(decisions.tiles.length);
    const ranks = new Set(decisions.tiles.map(({ rank }) => rank));
    expect(new Set(shapes.map((shape) => shape.getAttribute("fill"))).size).toBe(ranks.size);
  });

  it("has a cell for each pair of ranks that exchange bytes, besides the diagonal", () => {
    expect(marksOf(svg, "cell", "rect")).toHaveLength(decisions.transfers.length + decisions.ranks);
  });

  it("marks the border between the two nodes in both directions", () => {
    // Besides them the document borders, of which there is one fewer than documents, and the axes of three bar charts.
    expect(
      marksOf(svg, "rule", "line").filter((rule) => rule.parentElement?.getAttribute("stroke-width") === "1.1"),
    ).toHaveLength(2);
  });

  it("names every rank, and both nodes", () => {
    const texts = textBoxes(svg).map(({ text }) => text);
    for (const label of ["0 (node 0)", "4 (node 1)", "1", "7"]) expect(texts).toContain(label);
  });

  it("puts tiles, owners, transfers and loads beside the picture", () => {
    expect(data.ending).toBe("json");
    const { tiles, owners, transfers, loads } = JSON.parse(data.text);
    expect(tiles).toEqual(decisions.tiles);
    expect(owners).toEqual(decisions.owners);
    expect(transfers).toEqual(decisions.transfers);
    expect(loads).toEqual(decisions.loads);
  });
});

function polygonArea(corners: readonly { k: number; q: number }[]): number {
  const twice = corners.reduce((sum, { k, q }, i) => {
    const next = corners[(i + 1) % corners.length];
    return sum + k * next.q - next.k * q;
  }, 0);
  return Math.abs(twice) / 2;
}
