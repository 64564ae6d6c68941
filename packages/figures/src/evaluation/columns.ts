import { dot, type Markish, ruleX, ruleY, text } from "@observablehq/plot";
import { bottomAxis, narrowTicks } from "../drawing/axes.ts";
import { ink } from "../drawing/palette.ts";
import { type Panel, plotPanel } from "../drawing/panel.ts";
import { fontSize, textWidth } from "../drawing/text.ts";
import type { Summary } from "./summary.ts";

/** What a row is of. */
export interface RowName {
  readonly mix: string;
  readonly variant: string;
  readonly strategy: string;
}

/** One value of one row: a mark, with a line for its 95 % interval. */
export interface Point {
  readonly value: number;
  readonly interval?: { readonly low: number; readonly high: number };
  readonly colour: string;
  readonly shape: "dot" | "diamond" | "cross" | "tick";
}

/** One of the small multiples: what it shows of each row. */
export interface Column<R extends RowName = Summary> {
  readonly title: string;
  /** Second line of the heading. */
  readonly subtitle: string;
  /** Unit. */
  readonly axis: string;
  /** Whether measured or counted. */
  readonly origin: string;
  /** Where the scale begins; 0 where left out. */
  readonly from?: number;
  /** Linear where left out. */
  readonly scale?: "log";
  readonly points: (summary: R) => readonly Point[];
}

/** Rows from top to bottom, in points: a header for each mix, its variants below. */
export interface Rows<R extends RowName = Summary> {
  readonly headers: readonly { readonly mix: string; readonly description: string; readonly y: number }[];
  readonly variants: readonly { readonly summary: R; readonly y: number }[];
  /** With the axes below. */
  readonly height: number;
}

const rowHeight = 9.6;
const headerHeight = 13;
const mixGap = 5;
const axisHeight = 34;

/** Lays the variants of each mix under a header. */
export function layRows<R extends RowName>(summaries: readonly R[], describe: (mix: string) => string): Rows<R> {
  const headers: { mix: string; description: string; y: number }[] = [];
  const variants: { summary: R; y: number }[] = [];
  let bottom = 0;
  for (const mix of new Set(summaries.map((summary) => summary.mix))) {
    headers.push({ mix, description: describe(mix), y: bottom + headerHeight / 2 });
    bottom += headerHeight;
    for (const summary of summaries.filter((other) => other.mix === mix)) {
      variants.push({ summary, y: bottom + rowHeight / 2 });
      bottom += rowHeight;
    }
    bottom += mixGap;
  }
  return { headers, variants, height: bottom + axisHeight };
}

/** Names of mixes and variants, left of the columns. */
export function labelPanel<R extends RowName>(
  { headers, variants, height }: Rows<R>,
  { x, y }: { x: number; y: number },
): Panel & { width: number } {
  const widths = variants.map(({ summary }) =>
    textWidth(summary.variant, { size: fontSize.label, bold: isHsap(summary) }),
  );
  const width = Math.max(...widths) + 12;
  const box = { x, y, width, height, marginLeft: 0, marginRight: 0, marginTop: 0, marginBottom: axisHeight };
  const at = { x: 0, textAnchor: "start" } as const;
  const panel = plotPanel(box, {
    x: { type: "identity", axis: null },
    y: { type: "identity", axis: null },
    marks: [
      text(headers, {
        ...at,
        y: "y",
        text: ({ mix, description }) => (description ? `${mix}: ${description}` : mix),
        fontStyle: "italic",
        fill: ink.quiet,
      }),
      text(
        variants.filter(({ summary }) => !isHsap(summary)),
        { ...at, y: "y", text: ({ summary }) => summary.variant, dx: 6 },
      ),
      text(
        variants.filter(({ summary }) => isHsap(summary)),
        { ...at, y: "y", text: ({ summary }) => summary.variant, dx: 6, fontWeight: "bold" },
      ),
    ],
  });
  return { ...panel, width };
}

/** The points of all rows under one scale. */
export function columnPanel<R extends RowName>(
  column: Column<R>,
  rows: Rows<R>,
  place: { x: number; y: number; width: number },
): Panel {
  const points = rows.variants.flatMap(({ summary, y }) => column.points(summary).map((point) => ({ ...point, y })));
  const from = column.from ?? 0;
  const highest = Math.max(...points.map(({ value, interval }) => Math.max(value, interval?.high ?? value)));
  const to = highest > from ? from + (highest - from) * 1.04 : from + 1;
  const box = { ...place, height: rows.height, marginLeft: 6, marginRight: 8, marginTop: 0, marginBottom: axisHeight };
  const bands = rows.variants.filter((_, i) => i % 2 === 0);
  return plotPanel(box, {
    x: { ...(column.scale && { type: column.scale }), domain: [from, to], label: null },
    y: { type: "identity", axis: null },
    marks: [
      ruleY(bands, { y: "y", stroke: "#f4f4f4", strokeWidth: rowHeight }),
      ruleX(rows.variants, {
        x: from,
        y1: ({ y }) => y - rowHeight / 2,
        y2: ({ y }) => y + rowHeight / 2,
        stroke: ink.rule,
        strokeWidth: 0.6,
      }),
      ...pointMarks(points),
      bottomAxis(column.axis, { ticks: column.scale === undefined ? narrowTicks(to) : logTicks(to) }),
      text([column.origin], { frameAnchor: "bottom", text: (line: string) => line, dy: 32 }),
    ],
  });
}

const logTicks = (to: number): number[] => [1, 2, 5, 10, 20, 50, 100].filter((tick) => tick <= to);

type PlacedPoint = Point & { readonly y: number };

function pointMarks(points: readonly PlacedPoint[]): Markish[] {
  const ofShape = (shape: Point["shape"]) => points.filter((point) => point.shape === shape);
  const at = { x: "value", y: "y" } as const;
  const ends = points.flatMap(({ interval, y, colour }) =>
    interval
      ? [
          { x: interval.low, y, colour },
          { x: interval.high, y, colour },
        ]
      : [],
  );
  return [
    ruleY(
      points.filter(({ interval }) => interval),
      {
        x1: ({ interval }) => interval.low,
        x2: ({ interval }) => interval.high,
        y: "y",
        stroke: "colour",
        strokeWidth: 1,
      },
    ),
    ruleX(ends, { x: "x", y1: ({ y }) => y - 2.2, y2: ({ y }) => y + 2.2, stroke: "colour", strokeWidth: 0.8 }),
    ruleX(ofShape("tick"), {
      x: "value",
      y1: ({ y }) => y - 3.6,
      y2: ({ y }) => y + 3.6,
      stroke: "colour",
      strokeWidth: 1.3,
    }),
    dot(ofShape("diamond"), { ...at, symbol: "diamond", r: 2.7, stroke: "colour", strokeWidth: 1, fill: ink.paper }),
    dot(ofShape("cross"), { ...at, symbol: "times", r: 2.3, stroke: "colour", strokeWidth: 1.1 }),
    dot(ofShape("dot"), { ...at, r: 2.3, fill: "colour" }),
  ];
}

const isHsap = ({ strategy }: RowName): boolean => strategy === "hsap";
