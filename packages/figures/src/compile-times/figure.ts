import type { CompileTimes } from "@hsap/bench";
import { InputError } from "@hsap/workload";
import { fullCount, rangeOf } from "../drawing/amount.ts";
import { type LegendEntry, legend } from "../drawing/legend.ts";
import { columnWidth, drawPage } from "../drawing/page.ts";
import { ink } from "../drawing/palette.ts";
import { headings } from "../drawing/panel.ts";
import { axisHeight, growthPanel } from "./growth-panel.ts";
import {
  type Aim,
  aims,
  documentSeries,
  isDrawn,
  mixesOf,
  mixSeries,
  partSeries,
  parts,
  type Series,
} from "./series.ts";

export interface CompileTimesInput {
  readonly strategy: string;
  /** What the times were measured on: `AMD EPYC`. */
  readonly processor: string;
  readonly rows: readonly CompileTimes[];
}

const top = 24;
const plotHeight = 150;

/**
 * How compile times grow: of each mix by ranks, of all packs by documents, and the parts of one mix by ranks. Medians, of the
 * slower pass. Returns the SVG.
 *
 * @throws InputError if there are no times.
 */
export function drawCompileTimes({ strategy, processor, rows }: CompileTimesInput): string {
  if (rows.length === 0) throw new InputError("invalid compile times: there are none");
  const width = columnWidth.double;
  const mixes = mixesOf(rows);
  const shown = mixes.includes("hybrid") ? "hybrid" : mixes[0];
  const panels: readonly PanelOf[] = [
    { title: "all programs, by ranks", x: "ranks", series: mixSeries(rows), aims: aims.cold },
    { title: "all programs, by documents", x: "documents", series: documentSeries(rows), aims: [] },
    { title: `what takes how long, ${shown}`, x: "ranks", series: partSeries(rows, shown), aims: aims.cached },
  ];
  const room = width / panels.length;
  return drawPage({
    width,
    bodyHeight: top + plotHeight + axisHeight,
    title: `Compile times of ${strategy}`,
    caption: captionOf(rows, processor),
    legend: legend(legendOf(rows, panels), { width }),
    panels: panels.flatMap(({ title, x, series, aims: limits }, i) => [
      ...headings(i * room, 0, "abc"[i], title, "ms, slower pass"),
      growthPanel({ x: i * room, y: top, width: room, height: plotHeight + axisHeight }, x, series, limits),
    ]),
  });
}

interface PanelOf {
  readonly title: string;
  readonly x: "ranks" | "documents";
  readonly series: readonly Series[];
  readonly aims: readonly Aim[];
}

function legendOf(rows: readonly CompileTimes[], [byRanks]: readonly PanelOf[]): LegendEntry[] {
  return [
    ...byRanks.series.map(({ name, colour }): LegendEntry => ({ label: name, colour, shape: "dot" })),
    ...parts
      .filter(({ timing }) => isDrawn(rows, timing))
      .map(({ label, colour, shape }): LegendEntry => ({ label, colour, shape })),
    { label: "aim", colour: ink.quiet, shape: "dashes" },
  ];
}

function captionOf(rows: readonly CompileTimes[], processor: string): string {
  const ranks = rangeOf(rows.map((row) => row.ranks));
  const documents = rangeOf(rows.map((row) => row.documents));
  const tokens = fullCount(Math.max(...rows.map((row) => row.tokens)));
  return (
    `Measured on one core of ${processor}: medians of later calls in a process, nothing reused but where cached. ${ranks} ranks, ` +
    `${documents} documents, up to ${tokens} tokens.`
  );
}
