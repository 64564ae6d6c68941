import { type MeasuredStep, measuredSteps, medianPredictionError, type StepPredictions, type Trial } from "@hsap/bench";
import { mixes } from "@hsap/workload";
import { stringify } from "csv-stringify/sync";
import { fullCount } from "../drawing/amount.ts";
import { legend } from "../drawing/legend.ts";
import { columnWidth, drawPage } from "../drawing/page.ts";
import { okabeIto } from "../drawing/palette.ts";
import { headings } from "../drawing/panel.ts";
import { type Column, columnPanel, labelPanel, layRows, type Point, type RowName } from "../evaluation/columns.ts";
import type { Figure } from "../figure.ts";

export interface StepsInput {
  readonly trials: readonly Trial[];
  readonly predictions: StepPredictions | undefined;
  /** What the trials ran on. */
  readonly machine: string;
}

/** What is measured and what is simulated never share a colour. */
const colour = { measured: okabeIto.blue, simulated: okabeIto.vermilion } as const;

/** One strategy on one mix, in both passes. */
interface StepRow extends RowName {
  readonly steps: Readonly<Partial<Record<Trial["problem"]["pass"], MeasuredStep & { readonly floorMs: number }>>>;
}

/**
 * Figure 8: measured steps as multiples of the computation that they must do, with what the simulator predicts; undefined where the
 * trials measure no compute floor.
 */
export function drawSteps({ trials, predictions, machine }: StepsInput): Figure | undefined {
  const steps = measuredSteps(trials, predictions);
  if (steps.length === 0) return undefined;
  const width = columnWidth.double;
  const rows = layRows(rowsOf(steps), (mix) =>
    Object.hasOwn(mixes, mix) ? mixes[mix as keyof typeof mixes].description : "",
  );
  const labels = labelPanel(rows, { x: 0, y: top });
  const passes = (["forward", "backward"] as const).filter((pass) => steps.some((step) => step.pass === pass));
  const room = (width - labels.width) / passes.length;
  const panels = passes.flatMap((pass, i) => {
    const x = labels.width + i * room;
    const column: Column<StepRow> = {
      ...{ title: pass, subtitle: "step", axis: "times the compute floor", origin: "measured, simulated" },
      ...{
        from: 0.8,
        scale: "log",
        points: ({ steps: { [pass]: step } }) => (step === undefined ? [] : pointsOf(step)),
      },
    };
    return [
      ...headings(x, 0, "ab"[i], pass, "step / compute floor, logarithmic"),
      columnPanel(column, rows, { x, y: top, width: room }),
    ];
  });
  const svg = drawPage({
    width,
    bodyHeight: top + rows.height,
    title: "Steps on nodes joined by a slow link, beside the computation that they must do",
    caption: captionOf(steps, trials, machine),
    legend: legend(
      [
        { label: "measured", colour: colour.measured, shape: "dot" },
        { label: "95 % interval", colour: colour.measured, shape: "interval" },
        ...(predictions === undefined
          ? []
          : [{ label: "simulated", colour: colour.simulated, shape: "diamond", hollow: true } as const]),
      ],
      { width },
    ),
    panels: [labels, ...panels],
  });
  return { number: 8, name: "steps", svg, data: { ending: "csv", text: tableOf(steps) } };
}

const top = 24;

function rowsOf(steps: readonly MeasuredStep[]): StepRow[] {
  const rows = new Map<string, StepRow>();
  const floorMs = new Map<string, number>();
  for (const { pass, mix, floorRatio, wallMs } of steps)
    if (floorRatio === undefined) floorMs.set(`${pass} ${mix}`, wallMs);
  for (const step of steps) {
    const { pass, mix, strategy } = step;
    // A strategy may choose other degrees in each pass; it is one row all the same.
    const known = rows.get(`${mix} ${strategy}`);
    const own = { [pass]: { ...step, floorMs: floorMs.get(`${pass} ${mix}`) as number } };
    rows.set(`${mix} ${strategy}`, { mix, strategy, variant: strategy, steps: { ...known?.steps, ...own } });
  }
  return [...rows.values()];
}

function pointsOf({ floorRatio, predictedMs, floorMs }: MeasuredStep & { readonly floorMs: number }): Point[] {
  const simulated: Point[] =
    predictedMs === undefined ? [] : [{ value: predictedMs / floorMs, colour: colour.simulated, shape: "diamond" }];
  const measured: Point =
    floorRatio === undefined
      ? { value: 1, colour: colour.measured, shape: "dot" }
      : { value: floorRatio.estimate, interval: floorRatio, colour: colour.measured, shape: "dot" };
  return [...simulated, measured];
}

function captionOf(steps: readonly MeasuredStep[], trials: readonly Trial[], machine: string): string {
  const [{ problem, ranks, ranksPerNode }] = trials;
  const { tokens, heads, kvHeads, headDim, dtype } = problem;
  const counts = steps.map((step) => step.trials.length);
  const [fewest, most] = [Math.min(...counts), Math.max(...counts)];
  const repeats = fewest === most ? `${most}` : `${fewest} to ${most}`;
  const error = medianPredictionError(steps);
  const predicted =
    error === undefined
      ? ""
      : ` Simulated: from links and devices that were calibrated on this cluster, over the measured floor; off by ${(100 * error).toFixed(1)} % in the middle.`;
  return (
    `Medians of ${repeats} interleaved repeats, wall time: packs of ${fullCount(tokens)} tokens, ${ranks} ranks in ${ranks / ranksPerNode} nodes, ` +
    `${heads} query and ${kvHeads} kv heads of ${headDim}, ${dtype}; ${machine}. The compute floor is the same documents, in equal shares ` +
    `with nothing to send, measured in each repeat.${predicted}`
  );
}

function tableOf(steps: readonly MeasuredStep[]): string {
  const rows = steps.map(({ pass, mix, variant, wallMs, floorRatio, predictedMs, predictionError, trials }) => ({
    ...{ pass, mix, variant, repeats: trials.length, measuredMs: wallMs, overFloor: floorRatio?.estimate ?? 1 },
    ...{ overFloorLow: floorRatio?.low, overFloorHigh: floorRatio?.high, simulatedMs: predictedMs, predictionError },
  }));
  return stringify(rows, { header: true });
}
