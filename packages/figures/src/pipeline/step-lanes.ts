import type { PipelineStep, Span } from "@hsap/bench";
import { axisY, link, rect, text } from "@observablehq/plot";
import { labelNumber } from "../drawing/amount.ts";
import { bottomAxis } from "../drawing/axes.ts";
import { ink, okabeIto } from "../drawing/palette.ts";
import { type Panel, plotPanel } from "../drawing/panel.ts";
import { fontSize, textWidth } from "../drawing/text.ts";
import { compileColour } from "./colours.ts";

export const stepLanesHeight = 76;

const marginLeft = 44;
const marginRight = 12;
const laneHeight = 13;
const tops = { compile: 12, execute: 31 } as const;

interface StepBar extends Span {
  readonly step: number;
  readonly colour: string;
  readonly top: number;
  /** Its number and duration, or the number alone, or nothing, as there is room inside. */
  readonly label: string;
}

/** Two lanes over time: the compiler's, and that of the ranks together. Lines lead from a schedule to its execution. */
export function stepLanes(steps: readonly PipelineStep[], place: { x: number; y: number; width: number }): Panel {
  const endMs = Math.max(...steps.map(({ execute }) => execute.endMs));
  const box = { ...place, height: stepLanesHeight, marginLeft, marginRight, marginTop: 0, marginBottom: 27 };
  const pointMs = endMs / (place.width - marginLeft - marginRight);
  const compile = barsOf(steps, "compile", compileColour, pointMs);
  const execute = barsOf(steps, "execute", okabeIto.blue, pointMs);
  const bars = [...compile, ...execute];
  return plotPanel(box, {
    x: { domain: [0, endMs], label: null },
    y: { type: "identity", label: null },
    marks: [
      link(compile, {
        x1: "endMs",
        y1: tops.compile + laneHeight,
        x2: ({ step }) => steps[step].execute.beginMs,
        y2: tops.execute,
        stroke: ink.quiet,
        strokeWidth: 0.6,
      }),
      rect(bars, {
        x1: "beginMs",
        // A hair's width keeps a compilation visible that takes a thousandth of the step.
        x2: ({ beginMs, endMs }) => Math.max(endMs, beginMs + 0.8 * pointMs),
        y1: "top",
        y2: ({ top }) => top + laneHeight,
        fill: "colour",
        stroke: ink.paper,
        strokeWidth: 0.4,
      }),
      text(bars, {
        x: ({ beginMs, endMs }) => (beginMs + endMs) / 2,
        y: ({ top }) => top + laneHeight / 2,
        text: "label",
        fill: ink.paper,
      }),
      text(labelsAbove(compile, pointMs), { x: "beginMs", y: tops.compile - 6, text: fullLabel, textAnchor: "start" }),
      axisY([tops.compile + laneHeight / 2, tops.execute + laneHeight / 2], {
        tickSize: 0,
        tickFormat: (_: number, i: number) => ["compile", "execute"][i],
      }),
      bottomAxis(`time since the first compilation began (ms, ${steps[0].trace.origin})`, { ticks: 8 }),
    ],
  });
}

function barsOf(steps: readonly PipelineStep[], lane: keyof typeof tops, colour: string, pointMs: number): StepBar[] {
  return steps.map((of, step) => {
    const bar = { ...of[lane], step, colour, top: tops[lane] };
    const label = [fullLabel(bar), String(step)].find((some) => widthOf(some) + 3 < lengthOf(bar) / pointMs) ?? "";
    return { ...bar, label };
  });
}

const fullLabel = (bar: Span & { readonly step: number }): string => `${bar.step}: ${labelNumber(lengthOf(bar))} ms`;

const lengthOf = ({ beginMs, endMs }: Span): number => endMs - beginMs;

const widthOf = (label: string): number => textWidth(label, { size: fontSize.label });

/** The bars that could not hold a number and duration, leaving out those whose label would cover the one before. */
function labelsAbove(bars: readonly StepBar[], pointMs: number): StepBar[] {
  let free = Number.NEGATIVE_INFINITY;
  return bars.filter((bar) => {
    if (bar.label === fullLabel(bar) || bar.beginMs < free) return false;
    free = bar.beginMs + (widthOf(fullLabel(bar)) + 4) * pointMs;
    return true;
  });
}
