import type { ComparedStrategy, Comparison } from "@hsap/bench";
import { dot, ruleX, ruleY, text } from "@observablehq/plot";
import { byteUnit } from "../drawing/amount.ts";
import { bottomAxis, narrowTicks } from "../drawing/axes.ts";
import { ink, okabeIto } from "../drawing/palette.ts";
import { type Panel, plotPanel } from "../drawing/panel.ts";

/** Counted and measured values never share a colour. */
export const colour = { counted: okabeIto.black, measured: okabeIto.vermilion, bound: okabeIto.blue } as const;

/** One mark of one strategy. */
interface Point {
  readonly value: number;
  readonly shape: "dot" | "tick";
}

/** One of the small multiples: what it shows of each strategy, and the bound that it is held against. */
export interface Column {
  readonly title: string;
  readonly subtitle: string;
  /** Unit. */
  readonly axis: string;
  readonly origin: "counted" | "measured";
  /** Where the scale begins; 0 where left out. */
  readonly from?: number;
  readonly bound?: number;
  readonly points: (row: ComparedStrategy) => readonly Point[];
}

/** The columns that a comparison has values for: time only where measured, bytes between nodes only with several. */
export function columnsOf({ rows, bounds }: Comparison): Column[] {
  const columns: Column[] = [];
  if (rows.some(({ measured }) => measured !== undefined)) {
    columns.push({
      title: "critical path",
      subtitle: "a core a rank",
      axis: "ms",
      origin: "measured",
      ...(bounds.computeFloorMs !== undefined && { bound: bounds.computeFloorMs }),
      points: ({ measured }) => (measured ? [{ value: measured.criticalPathMs, shape: "dot" }] : []),
    });
  }
  columns.push({
    title: "balance",
    subtitle: "of area",
    axis: "highest / mean",
    origin: "counted",
    from: 1,
    points: ({ balance }) => [{ value: balance.area, shape: "dot" }],
  });
  const bytes = (name: string, subtitle: string, bound: number, values: (row: ComparedStrategy) => Point[]): Column => {
    const unit = byteUnit(Math.max(bound, ...rows.flatMap(values).map(({ value }) => value)));
    const scaled = (row: ComparedStrategy) =>
      values(row).map((point) => ({ ...point, value: point.value / unit.size }));
    const held = bound > 0 ? { bound: bound / unit.size } : {};
    return { title: name, subtitle, axis: unit.name, origin: "counted", ...held, points: scaled };
  };
  columns.push(
    bytes("received", "by a rank", bounds.receivedBytesMean, ({ receivedBytes: { mean, max } }) => [
      { value: max, shape: "tick" },
      { value: mean, shape: "dot" },
    ]),
  );
  if (rows.some(({ betweenNodesBytes }) => betweenNodesBytes > 0)) {
    columns.push(
      bytes("into nodes", "all together", bounds.betweenNodesBytes, (row) => [
        { value: row.betweenNodesBytes, shape: "dot" },
      ]),
    );
  }
  columns.push(
    bytes("memory", "peak of a rank", 0, ({ peakBytes: { mean, max } }) => [
      { value: max, shape: "tick" },
      { value: mean, shape: "dot" },
    ]),
  );
  return columns;
}

export const rowHeight = 11;
export const axisHeight = 34;

/** The points of all strategies under one scale; strategy i is i rows from the top. */
export function columnPanel(
  { points: pointsOf, from = 0, bound, axis, origin }: Column,
  rows: readonly ComparedStrategy[],
  place: { readonly x: number; readonly y: number; readonly width: number },
): Panel {
  const points = rows.flatMap((row, i) => pointsOf(row).map((point) => ({ ...point, y: (i + 0.5) * rowHeight })));
  const highest = Math.max(from, bound ?? from, ...points.map(({ value }) => value));
  const to = highest > from ? from + (highest - from) * 1.05 : from + 1;
  const height = rows.length * rowHeight + axisHeight;
  const box = { ...place, height, marginLeft: 6, marginRight: 8, marginTop: 0, marginBottom: axisHeight };
  const bands = rows.flatMap((_, i) => (i % 2 === 0 ? [(i + 0.5) * rowHeight] : []));
  const bottom = rows.length * rowHeight;
  const fill = colour[origin];
  const ofShape = (shape: Point["shape"]) => points.filter((point) => point.shape === shape);
  return plotPanel(box, {
    x: { domain: [from, to], label: null },
    y: { type: "identity", axis: null },
    marks: [
      ruleY(bands, { y: (y: number) => y, stroke: "#f4f4f4", strokeWidth: rowHeight }),
      ruleX([from], { y1: 0, y2: bottom, stroke: ink.rule, strokeWidth: 0.6 }),
      ...(bound === undefined
        ? []
        : [ruleX([bound], { y1: 0, y2: bottom, stroke: colour.bound, strokeWidth: 1, strokeDasharray: "2,1.5" })]),
      ruleX(ofShape("tick"), {
        x: "value",
        y1: ({ y }) => y - 3.6,
        y2: ({ y }) => y + 3.6,
        stroke: fill,
        strokeWidth: 1.3,
      }),
      dot(ofShape("dot"), { x: "value", y: "y", r: 2.3, fill }),
      bottomAxis(axis, { ticks: narrowTicks(to) }),
      text([origin], { frameAnchor: "bottom", text: (line: string) => line, dy: 32 }),
    ],
  });
}
