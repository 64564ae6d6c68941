import { dot, line, type Markish, ruleX, ruleY } from "@observablehq/plot";
import { fullCount } from "../drawing/amount.ts";
import { bottomAxis, leftAxis } from "../drawing/axes.ts";
import { ink } from "../drawing/palette.ts";
import { type Panel, plotPanel } from "../drawing/panel.ts";
import type { Aim, Series } from "./series.ts";

/** Room below a plot for its axis. */
export const axisHeight = 28;

/** Milliseconds against a count, both on logarithmic scales. */
export function growthPanel(
  place: { readonly x: number; readonly y: number; readonly width: number; readonly height: number },
  axis: "ranks" | "documents",
  series: readonly Series[],
  limits: readonly Aim[],
): Panel {
  const points = series.flatMap((of) => of.points);
  const [fromX, toX] = decades(
    points.map(({ x }) => x),
    axis === "ranks" ? 2 : 10,
  );
  const [fromMs, toMs] = decades([...points.map(({ ms }) => ms), ...limits.map(({ ms }) => ms)], 10);
  const box = { ...place, marginLeft: 30, marginRight: 8, marginTop: 4, marginBottom: axisHeight };
  const ticks = powers(fromX, toX, axis === "ranks" ? 4 : 10);
  return plotPanel(box, {
    // The base decides which ticks keep their labels.
    x: { type: "log", base: axis === "ranks" ? 2 : 10, domain: [fromX, toX] },
    y: { type: "log", domain: [fromMs, toMs] },
    marks: [
      ruleY(powers(fromMs, toMs, 10), { stroke: ink.faint, strokeWidth: 0.6 }),
      ...limits.map((aim) => aimMark(aim, fromX, toX)),
      ...series.flatMap(seriesMarks),
      bottomAxis(axis, { ticks, tickFormat: axis === "ranks" ? fullCount : shortCount }),
      leftAxis("", 24, {
        ticks: powers(fromMs, toMs, 10),
        tickFormat: (ms: number) => String(Number(ms.toPrecision(1))),
      }),
    ],
  });
}

/** `10k` for 10000. */
const shortCount = (count: number): string => (count >= 1000 ? `${count / 1000}k` : String(count));

const aimMark = ({ fromRanks, toRanks, ms }: Aim, from: number, to: number): Markish =>
  line(
    [fromRanks, toRanks].map((ranks) => ({ x: Math.min(to, Math.max(from, ranks)), ms })),
    { x: "x", y: "ms", stroke: ink.quiet, strokeWidth: 1, strokeDasharray: "2,1.5" },
  );

function seriesMarks({ points, colour, shape, isLine }: Series): Markish[] {
  const at = { x: "x", y: "ms" } as const;
  return [
    ...(isLine ? [line(points, { ...at, stroke: colour, strokeWidth: 1 })] : []),
    shape === "tick"
      ? ruleX(points, { x: "x", y1: "ms", y2: ({ ms }) => ms * 1.5, stroke: colour, strokeWidth: 1.4 })
      : dot(points, {
          ...at,
          r: 2.2,
          symbol: shape === "cross" ? "times" : shape === "diamond" ? "diamond" : "circle",
          ...(shape === "cross" ? { stroke: colour, strokeWidth: 1.1 } : { fill: colour }),
        }),
  ];
}

/** The powers of `base` that hold all values, at least one apart. */
function decades(values: readonly number[], base: number): [from: number, to: number] {
  const exponent = (value: number) => Math.log(value) / Math.log(base);
  const from = base ** Math.floor(exponent(Math.min(...values)) + 1e-9);
  const to = base ** Math.ceil(exponent(Math.max(...values)) - 1e-9);
  return [from, Math.max(to, from * base)];
}

function powers(from: number, to: number, base: number): number[] {
  const values: number[] = [];
  for (let value = from; value <= to * (1 + 1e-9); value *= base) values.push(value);
  return values;
}
