import { axisY, dot, type Markish, rect, ruleY } from "@observablehq/plot";
import { bottomAxis, leftAxis } from "../drawing/axes.ts";
import { ink } from "../drawing/palette.ts";
import { type Panel, plotPanel } from "../drawing/panel.ts";

/** One strategy's bar at one number of ranks. */
export interface Bar {
  readonly ranks: number;
  /** Of how many bars beside each other, from 0. */
  readonly place: number;
  readonly colour: string;
  /** Without one the step is out of memory: a cross instead of a bar. */
  readonly value: number | undefined;
  readonly hollow?: boolean;
  /** A second value, as a line across the bar. */
  readonly tick?: number | undefined;
}

export interface BarsAxis {
  readonly unit: string;
  readonly to: number;
  /** A dashed line. */
  readonly limit?: number;
  /** What 100 % on a second axis is. */
  readonly whole?: number;
}

export interface BarsPanel {
  readonly box: { readonly x: number; readonly y: number; readonly width: number; readonly height: number };
  readonly axisHeight: number;
  readonly ranks: readonly number[];
  /** Bars at each number of ranks. */
  readonly places: number;
  readonly bars: readonly Bar[];
  readonly axis: BarsAxis;
  /** The second axis stands right of the last panel of a row. */
  readonly isLast: boolean;
}

/** Groups of bars by ranks, all groups equally wide. */
export function barsPanel({ box, axisHeight, ranks, places, bars, axis, isLast }: BarsPanel): Panel {
  const { to, limit, whole } = axis;
  const width = 0.84 / places;
  const left = ({ ranks: count, place }: Bar) => ranks.indexOf(count) - 0.42 + place * width;
  const drawn = bars.flatMap((bar) => (bar.value === undefined ? [] : [{ ...bar, value: Math.min(bar.value, to) }]));
  const ticks = drawn.flatMap((bar) => (bar.tick === undefined ? [] : [{ ...bar, tick: bar.tick }]));
  const margins = { marginLeft: 26, marginRight: 24, marginTop: 4, marginBottom: axisHeight };
  const span = { x1: (bar: Bar) => left(bar) + 0.01, x2: (bar: Bar) => left(bar) + width - 0.01 };
  return plotPanel(
    { ...box, ...margins },
    {
      x: { domain: [-0.5, ranks.length - 0.5] },
      y: { domain: [0, to] },
      marks: [
        rect(drawn, {
          ...{ ...span, y1: 0, y2: "value", stroke: "colour", strokeWidth: 0.5 },
          fill: ({ hollow, colour }: Bar) => (hollow ? ink.paper : colour),
        }),
        ruleY(ticks, { ...span, y: "tick", stroke: ink.text, strokeWidth: 0.9 }),
        dot(
          bars.filter(({ value }) => value === undefined),
          { x: (bar: Bar) => left(bar) + width / 2, y: to * 0.035, symbol: "times", r: 1.7, stroke: "colour" },
        ),
        ruleY([0], { stroke: ink.rule, strokeWidth: 0.6 }),
        ...(limit === undefined ? [] : [ruleY([limit], { stroke: ink.quiet, strokeDasharray: "2,1.5" })]),
        bottomAxis("ranks", { ticks: ranks.map((_, i) => i), tickFormat: (i: number) => String(ranks[i]) }),
        leftAxis("", 22, { ticks: 4 }),
        ...(whole === undefined || !isLast ? [] : [shareAxis(to, whole)]),
      ],
    },
  );
}

/** Ticks at every fifth of `whole`, tenths where those are fewer than three. */
function shareAxis(to: number, whole: number): Markish {
  const step = (2 * whole) / 5 <= to ? 20 : 10;
  const shares = Array.from({ length: Math.floor((100 * to) / whole / step) + 1 }, (_, i) => i * step);
  return axisY(
    shares.map((share) => (share * whole) / 100),
    {
      ...{ anchor: "right", label: null, tickSize: 3, tickPadding: 2, strokeWidth: 0.6, color: ink.text },
      tickFormat: (value: number) => `${Math.round((100 * value) / whole)} %`,
    },
  );
}
