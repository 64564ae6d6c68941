import { ranksPerNode } from "@hsap/cluster";
import type { Schedule, Trace } from "@hsap/schedule";
import { axisY, type Markish, rect, ruleY, text } from "@observablehq/plot";
import { labelNumber } from "../drawing/amount.ts";
import { bottomAxis } from "../drawing/axes.ts";
import { ink } from "../drawing/palette.ts";
import { type Panel, plotPanel } from "../drawing/panel.ts";
import { activityColour } from "./colours.ts";
import { computationMs, joinShortBars, type LaneBar } from "./lanes.ts";

const marginLeft = 44;
const marginRight = 62;
const marginTop = 12;
const marginBottom = 27;
const nodeGap = 5;

/** Ranks shown at most: the first ones, whole nodes. */
const mostRanks = 16;

export function rankLanesHeight(schedule: Schedule): number {
  const { bottom } = placeRows(schedule);
  return bottom + marginBottom;
}

/** Two lanes for each rank over one step: groups of transfers (thin) over computation (thick), with its processor time. */
export function rankLanes(
  schedule: Schedule,
  trace: Trace,
  bars: readonly LaneBar[],
  place: { x: number; y: number; width: number },
): Panel {
  const { rows, bottom, borders } = placeRows(schedule);
  const box = { ...place, height: bottom + marginBottom, marginLeft, marginRight, marginTop: 0, marginBottom };
  const inMs = trace.durationUs >= 5000;
  const unit = inMs ? { name: "ms", us: 1000 } : { name: "µs", us: 1 };
  const pointsUs = trace.durationUs / (place.width - marginLeft - marginRight);
  const shown = joinShortBars(
    bars.filter(({ rank }) => rank < rows.length),
    pointsUs / 4,
  );
  const busy = computationMs(schedule, trace);
  const shares = rows.map(({ rank, middle }) => ({ middle, label: `${labelNumber(busy[rank])} ms` }));
  return plotPanel(box, {
    x: { domain: [0, trace.durationUs / unit.us], label: null },
    y: { type: "identity", label: null },
    marks: [
      ruleY(borders, { stroke: ink.rule, strokeWidth: 0.6 }),
      ruleY(rows, { y: "computation", stroke: ink.faint, strokeWidth: 5 }),
      barMarks(shown, rows, unit.us, pointsUs),
      axisY(
        rows.map(({ middle }) => middle),
        { tickSize: 0, tickFormat: (_: number, i: number) => `rank ${rows[i].rank}` },
      ),
      text(shares, {
        x: trace.durationUs / unit.us,
        y: "middle",
        text: "label",
        textAnchor: "end",
        dx: marginRight - 8,
      }),
      text(["CPU time of", "computation"], {
        x: trace.durationUs / unit.us,
        y: (_: string, i: number) => 1 + 9 * i - 6,
        text: (line: string) => line,
        textAnchor: "end",
        dx: marginRight - 8,
        fill: ink.quiet,
      }),
      bottomAxis(`time since all ranks were ready (${unit.name}, ${trace.origin})`, { ticks: 8 }),
    ],
  });
}

interface Row {
  readonly rank: number;
  /** Middles of the two lanes and of both together, in points. */
  readonly communication: number;
  readonly computation: number;
  readonly middle: number;
}

const laneHeights = { communication: 4.5, computation: 9 } as const;

function placeRows({ opBegin, problem }: Schedule): { rows: Row[]; bottom: number; borders: number[] } {
  const ranks = Math.min(mostRanks, opBegin.length - 1);
  const perNode = ranksPerNode(problem.cluster);
  const borders: number[] = [];
  let top = marginTop;
  const rows = Array.from({ length: ranks }, (_, rank) => {
    if (rank > 0 && rank % perNode === 0) {
      borders.push(top + nodeGap / 2 - 1);
      top += nodeGap;
    }
    const communication = top + laneHeights.communication / 2;
    const computation = top + laneHeights.communication + 0.8 + laneHeights.computation / 2;
    const row = { rank, communication, computation, middle: (communication + computation) / 2 };
    top += laneHeights.communication + laneHeights.computation + 4.5;
    return row;
  });
  return { rows, bottom: top, borders };
}

function barMarks(bars: readonly LaneBar[], rows: readonly Row[], unitUs: number, pointUs: number): Markish {
  const half = (lane: LaneBar["lane"]) => laneHeights[lane] / 2;
  return rect(bars, {
    x1: ({ beginUs }) => beginUs / unitUs,
    x2: ({ beginUs, endUs }) => Math.max(endUs, beginUs + pointUs * 0.3) / unitUs,
    y1: ({ rank, lane }: LaneBar) => rows[rank][lane] - half(lane),
    y2: ({ rank, lane }: LaneBar) => rows[rank][lane] + half(lane),
    fill: ({ activity }) => activityColour(activity),
    stroke: ink.paper,
    strokeWidth: 0.2,
  });
}
