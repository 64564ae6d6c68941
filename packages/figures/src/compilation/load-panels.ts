import { axisX, axisY, barX, ruleX, text } from "@observablehq/plot";
import { labelNumber, type Unit } from "../drawing/amount.ts";
import { ink, linkColours } from "../drawing/palette.ts";
import { type Panel, plotPanel } from "../drawing/panel.ts";
import type { Decisions, RankLoad } from "./decisions.ts";

export interface LoadPanelOptions {
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
  readonly colours: readonly string[];
  readonly unit: Unit;
}

/** What each rank owns, computes and receives: three bar charts over the same rows. */
export function loadPanels({ loads }: Decisions, options: LoadPanelOptions): Panel[] {
  const { x, y, width, height, colours, unit } = options;
  const own = ({ rank }: RankLoad) => colours[rank];
  const received = ({ insideNodeBytes, betweenNodesBytes }: RankLoad) =>
    (insideNodeBytes + betweenNodesBytes) / unit.size;
  const columnWidth = (width - labelWidth) / 3;
  const column = (
    index: number,
    bars: readonly Bars[],
    title: string,
    total: (load: RankLoad) => number,
    format = labelNumber,
  ) =>
    loadColumn(loads, bars, {
      x: x + (index === 0 ? 0 : labelWidth + index * columnWidth),
      y,
      width: columnWidth + (index === 0 ? labelWidth : 0),
      height,
      labels: index === 0,
      title,
      total,
      format,
    });
  const meanArea = loads.reduce((sum, { area }) => sum + area, 0) / loads.length;
  const relativeArea = ({ area }: RankLoad) => (meanArea === 0 ? 0 : area / meanArea);
  return [
    column(0, [{ of: ({ tokens }) => tokens, fill: own }], "tokens owned", ({ tokens }) => tokens, String),
    column(1, [{ of: relativeArea, fill: own }], "pairs / mean", relativeArea),
    column(
      2,
      [
        { of: ({ insideNodeBytes }) => insideNodeBytes / unit.size, fill: () => linkColours[0] },
        { of: ({ betweenNodesBytes }) => betweenNodesBytes / unit.size, fill: () => linkColours[1] },
      ],
      `received (${unit.name})`,
      received,
    ),
  ];
}

interface Bars {
  readonly of: (load: RankLoad) => number;
  readonly fill: (load: RankLoad) => string;
}

interface Column {
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
  /** Whether it names the ranks on its left. */
  readonly labels: boolean;
  readonly title: string;
  readonly total: (load: RankLoad) => number;
  readonly format: (total: number) => string;
}

const labelWidth = 26;

function loadColumn(loads: readonly RankLoad[], bars: readonly Bars[], column: Column): Panel {
  const { labels, title, total, format, ...place } = column;
  const box = { ...place, marginLeft: labels ? labelWidth : 2, marginRight: 24, marginTop: 12, marginBottom: 2 };
  const most = Math.max(...loads.map(total));
  const roomy = (box.height - box.marginTop) / loads.length >= 8.5;
  const parts = loads.flatMap((load) => {
    let begin = 0;
    return bars.map(({ of, fill }) => {
      begin += of(load);
      return { rank: load.rank, begin: begin - of(load), end: begin, fill: fill(load) };
    });
  });
  const all = loads.map(({ rank }) => rank);
  return plotPanel(box, {
    x: { domain: [0, most === 0 ? 1 : most], axis: null },
    y: { type: "band", domain: all, padding: roomy ? 0.2 : 0, round: false, axis: null },
    marks: [
      barX(parts, { x1: "begin", x2: "end", y: "rank", fill: "fill" }),
      ruleX([0], { stroke: ink.text, strokeWidth: 0.6 }),
      roomy
        ? text(loads, {
            x: total,
            y: "rank",
            text: (load: RankLoad) => format(total(load)),
            textAnchor: "start",
            dx: 2.5,
          })
        : null,
      labels
        ? axisY({
            tickSize: 0,
            ticks: roomy ? all : [0, loads.length - 1],
            label: "rank",
            labelOffset: 22,
            labelAnchor: "center",
            labelArrow: "none",
          })
        : null,
      axisX({ anchor: "top", ticks: [], label: title, labelAnchor: "left", labelArrow: "none", labelOffset: 10 }),
    ],
  });
}
