import { accountOf, isCommunication, programOf, type Schedule } from "@hsap/schedule";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { drawPipeline } from "../src/index.ts";
import { computationMs, joinShortBars, type LaneBar, laneBars } from "../src/pipeline/lanes.ts";
import { marksOf, textBoxes } from "./drawn.ts";
import { sampleSteps } from "./sample-inputs.ts";
import { sampleSchedule } from "./sample-schedule.ts";
import { syntheticTrace } from "./synthetic-trace.ts";

const schedule = sampleSchedule();
const trace = syntheticTrace(schedule);
const bars = laneBars(schedule, trace);

describe("the lanes of a trace", () => {
  it("have a bar for each computation op and one for each group of transfers", () => {
    const expected = countItems(schedule);
    expect(bars.filter(({ lane }) => lane === "computation")).toHaveLength(expected.computations);
    expect(bars.filter(({ lane }) => lane === "communication")).toHaveLength(expected.groups);
    expect(expected.groups).toBeGreaterThan(0);
  });

  it("colour a group by the outermost link that it crosses", () => {
    // Ranks 0 to 3 are a node, and so are 4 to 7; rank 4 gathers from ranks of the other node, rank 1 never sends or takes there.
    const levels = (rank: number) =>
      bars.flatMap((bar) => (bar.rank === rank && typeof bar.activity === "object" ? [bar.activity.level] : []));
    expect(levels(4)).toContain(1);
    expect(new Set(levels(0))).toEqual(new Set([0]));
  });

  it("add up to the processor time of the ranks' computation", () => {
    const total = computationMs(schedule, trace).reduce((sum, ms) => sum + ms, 0);
    const lengths = bars.filter(({ lane }) => lane === "computation").map(({ beginUs, endUs }) => endUs - beginUs);
    expect(total * 1000).toBeCloseTo(
      lengths.reduce((sum, us) => sum + us, 0),
      6,
    );
  });
});

describe("joining bars too short to be seen apart", () => {
  const laneOfBars = fc
    .array(fc.tuple(fc.integer({ min: 0, max: 5 }), fc.integer({ min: 1, max: 40 }), fc.boolean()), {
      minLength: 1,
      maxLength: 60,
    })
    .map((parts) => {
      let at = 0;
      return parts.map(([gap, length, sums]): LaneBar => {
        const beginUs = at + gap;
        at = beginUs + length;
        return { rank: 0, lane: "computation", activity: sums ? "sums" : "attention", beginUs, endUs: at, ops: 1 };
      });
    });

  it("keeps every op, the order, and never covers a gap that can be seen", () => {
    fc.assert(
      fc.property(laneOfBars, fc.integer({ min: 1, max: 4 }), (lane, resolutionUs) => {
        const joined = joinShortBars(lane, resolutionUs);
        expect(joined.reduce((sum, { ops }) => sum + ops, 0)).toBe(lane.length);
        for (const [i, { beginUs }] of joined.slice(1).entries())
          expect(beginUs).toBeGreaterThanOrEqual(joined[i].endUs);
        const covered = (some: readonly LaneBar[]) =>
          some.reduce((sum, { beginUs, endUs }) => sum + endUs - beginUs, 0);
        expect(covered(joined) - covered(lane)).toBeLessThanOrEqual(resolutionUs * (lane.length - joined.length));
      }),
    );
  });

  it("leaves bars apart that can be seen apart", () => {
    const long = bars.map((bar, i) => ({
      ...bar,
      rank: 0,
      lane: "computation" as const,
      beginUs: i * 100,
      endUs: i * 100 + 90,
    }));
    expect(joinShortBars(long, 1)).toHaveLength(long.length);
  });
});

describe("figure 2", () => {
  const steps = sampleSteps(4);
  const { svg, data } = drawPipeline({ steps, detail: 1, machine: "made-up times" });
  const detail = laneBars(steps[1].schedule, steps[1].trace);

  it("has a bar for each compilation and execution, and a line from one to the other", () => {
    const texts = textBoxes(svg).map(({ text }) => text);
    for (const step of [0, 1, 2, 3])
      expect(texts.filter((text) => text.startsWith(`${step}: `)).length).toBeGreaterThan(0);
    expect(marksOf(svg, "link", "path")).toHaveLength(steps.length);
  });

  it("shows the step with the most bytes between nodes where none is asked for", () => {
    const between = steps.map((step) => accountOf(step.schedule).betweenNodesBytes);
    const busiest = between.indexOf(Math.max(...between));
    const texts = textBoxes(drawPipeline({ steps, machine: "made-up times" }).svg).map(({ text }) => text);
    expect(texts.some((text) => text.includes(`in step ${busiest} `))).toBe(true);
    expect(new Set(between).size).toBeGreaterThan(1);
  });

  it("refuses to be drawn without steps", () => {
    expect(() => drawPipeline({ steps: [], machine: "none" })).toThrow("invalid pipeline: 0 steps (needs at least 1)");
  });

  it("draws the lanes of all eight ranks", () => {
    const texts = textBoxes(svg).map(({ text }) => text);
    expect(texts.filter((text) => /^rank \d$/.test(text))).toHaveLength(8);
    const drawn = marksOf(svg, "rect", "rect").length - 2 * steps.length;
    expect(drawn).toBeGreaterThan(8);
    expect(drawn).toBeLessThanOrEqual(detail.length);
  });

  it("puts every bar beside the picture, before any are joined, with its origin", () => {
    const rows = data.text.trim().split("\n");
    expect(rows[0]).toBe("step,rank,lane,activity,beginUs,endUs,ops,origin");
    expect(rows).toHaveLength(1 + 2 * steps.length + detail.length);
    expect(rows.slice(1).every((row) => row.endsWith(",simulated"))).toBe(true);
  });
});

function countItems(of: Schedule): { computations: number; groups: number } {
  let computations = 0;
  let groups = 0;
  for (let rank = 0; rank + 1 < of.opBegin.length; rank++) {
    const ops = [...programOf(of, rank)];
    computations += ops.filter(({ kind }) => !isCommunication(kind)).length;
    groups += new Set(ops.flatMap((op) => ("group" in op ? [op.group] : []))).size;
  }
  return { computations, groups };
}
