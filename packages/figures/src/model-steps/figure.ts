import type { SimulatedStep } from "@hsap/bench";
import { InputError } from "@hsap/workload";
import { dot, line, type Markish, ruleY } from "@observablehq/plot";
import { bottomAxis, leftAxis, tokenLabel } from "../drawing/axes.ts";
import { type LegendEntry, legend } from "../drawing/legend.ts";
import { columnWidth, drawPage } from "../drawing/page.ts";
import { ink } from "../drawing/palette.ts";
import { headings, type Panel, plotPanel } from "../drawing/panel.ts";
import { layerStrategyColour } from "./strategy-colour.ts";

export interface ModelStepsInput {
  /** `7b on 32 ranks of a100-200g (A100-80 SXM)`. */
  readonly title: string;
  /** What the documents are, in one sentence. */
  readonly documents: string;
  /** What a row stands for on the horizontal axis: the length of its documents, or the tokens of its step. */
  readonly axis: string;
  /** Memory of a device, where it is known. */
  readonly deviceGiB?: number | undefined;
  readonly rows: readonly ModelStepsRow[];
  /** Rates that others published for the same, drawn as dashed lines. */
  readonly published?: readonly PublishedRate[] | undefined;
}

/** What is published of one strategy at one place of the horizontal axis; no rate where it was out of memory. */
export interface PublishedRate {
  readonly tokens: number;
  readonly strategy: string;
  readonly tflopsPerDevice?: number | undefined;
}

/** One step of one strategy; rows of a strategy that cannot run there are left out. */
export interface ModelStepsRow {
  readonly tokens: number;
  readonly strategy: string;
  readonly step: DrawnStep;
}

/** What is drawn of a step. */
export interface DrawnStep extends Pick<SimulatedStep, "tflopsPerDevice" | "fits"> {
  /** Of the rank that needs most. */
  readonly memoryBytes: number;
}

const gibibyte = 2 ** 30;
const top = 24;
const plotHeight = 150;
const axisHeight = 28;

/**
 * A training step of several strategies by the length of documents or the tokens of a step: model TFLOP/s of each device, and memory of
 * the rank that needs most. Steps that do not fit into the device are hollow. Returns the SVG.
 *
 * @throws InputError if there are no steps.
 */
export function drawModelSteps({ title, documents, axis, deviceGiB, rows, published = [] }: ModelStepsInput): string {
  if (rows.length === 0) throw new InputError("invalid steps: there are none to draw");
  const width = columnWidth.double;
  const room = width / 2;
  const strategies = [...new Set(rows.map(({ strategy }) => strategy))];
  const panel = (i: number, values: PanelValues): Panel[] => [
    ...headings(i * room, 0, "ab"[i], values.heading, values.unit),
    stepsPanel({ x: i * room, y: top, width: room, height: plotHeight + axisHeight }, axis, rows, strategies, values),
  ];
  return drawPage({
    width,
    bodyHeight: top + plotHeight + axisHeight,
    title: `A training step of ${title}`,
    caption: `Simulated times, counted memory. ${documents}${deviceGiB === undefined ? "" : ` Hollow: needs more than the device's ${deviceGiB} GiB; more than twice that is cut off.`}${published.length === 0 ? "" : " Dashed: published."}`,
    legend: legend(
      strategies.map((label, i): LegendEntry => ({ label, colour: layerStrategyColour(label, i), shape: "dot" })),
      { width },
    ),
    panels: [
      ...panel(0, {
        heading: "rate",
        unit: "model TFLOP/s of each device",
        of: ({ tflopsPerDevice }) => tflopsPerDevice,
        published,
      }),
      ...panel(1, {
        heading: "memory",
        unit: "GiB of the rank that needs most",
        of: ({ memoryBytes }) => memoryBytes / gibibyte,
        limit: deviceGiB,
      }),
    ],
  });
}

interface PanelValues {
  readonly heading: string;
  readonly unit: string;
  readonly of: (step: DrawnStep) => number;
  readonly limit?: number | undefined;
  readonly published?: readonly PublishedRate[];
}

function stepsPanel(
  place: { readonly x: number; readonly y: number; readonly width: number; readonly height: number },
  axis: string,
  rows: readonly ModelStepsRow[],
  strategies: readonly string[],
  { of, limit, published = [] }: PanelValues,
): Panel {
  const counts = [...new Set(rows.map(({ tokens }) => tokens))].sort((a, b) => a - b);
  const known = published.filter(({ tflopsPerDevice }) => tflopsPerDevice !== undefined);
  const highest = Math.max(...rows.map(({ step }) => of(step)), ...known.map((rate) => rate.tflopsPerDevice ?? 0), 1);
  // What is far beyond the device is cut off above: how far does not matter.
  const ceiling = limit === undefined ? highest : Math.min(highest, 2 * limit);
  const box = { ...place, marginLeft: 30, marginRight: 12, marginTop: 4, marginBottom: axisHeight };
  return plotPanel(box, {
    x: { type: "log", base: 2, domain: [counts[0] / 1.15, counts[counts.length - 1] * 1.15] },
    y: { domain: [0, ceiling * 1.05], clamp: true },
    marks: [
      ruleY([0], { stroke: ink.rule, strokeWidth: 0.6 }),
      ...(limit === undefined ? [] : [ruleY([limit], { stroke: ink.quiet, strokeDasharray: "2,1.5" })]),
      ...strategies.map((strategy, i) =>
        line(
          known.filter((rate) => rate.strategy === strategy),
          {
            ...{ x: "tokens", y: "tflopsPerDevice", stroke: layerStrategyColour(strategy, i) },
            ...{ strokeWidth: 0.8, strokeDasharray: "2,1.5" },
          },
        ),
      ),
      ...strategies.flatMap((strategy, i) =>
        strategyMarks(
          rows.filter((row) => row.strategy === strategy),
          layerStrategyColour(strategy, i),
          of,
        ),
      ),
      bottomAxis(axis, { ticks: counts, tickFormat: tokenLabel }),
      leftAxis("", 24, { ticks: 5 }),
    ],
  });
}

function strategyMarks(rows: readonly ModelStepsRow[], colour: string, of: (step: DrawnStep) => number): Markish[] {
  const points = [...rows]
    .sort((a, b) => a.tokens - b.tokens)
    .map(({ tokens, step }) => ({ tokens, value: of(step), step }));
  return [
    line(points, { x: "tokens", y: "value", stroke: colour, strokeWidth: 1 }),
    dot(points, {
      ...{ x: "tokens", y: "value", r: 2.4, stroke: colour },
      fill: ({ step }: { step: DrawnStep }) => (step.fits === false ? ink.paper : colour),
    }),
  ];
}
