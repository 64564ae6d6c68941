import { type LossRun, lossRunName } from "@hsap/bench";
import { InputError } from "@hsap/workload";
import { line, type Markish } from "@observablehq/plot";
import { stringify } from "csv-stringify/sync";
import { bottomAxis, leftAxis } from "../drawing/axes.ts";
import { type LegendEntry, legend } from "../drawing/legend.ts";
import { columnWidth, drawPage } from "../drawing/page.ts";
import { okabeIto } from "../drawing/palette.ts";
import { headings, type Panel, plotPanel } from "../drawing/panel.ts";
import type { Figure } from "../figure.ts";

export interface TrainingLossesInput {
  readonly runs: readonly LossRun[];
  /** Differences are to this strategy's runs. */
  readonly baseline: string;
}

const top = 24;
const plotHeight = 130;
const axisHeight = 28;

/**
 * Figure 7: the loss of training runs that differ in their strategy only, and how far each is from the baseline's at every step, with a
 * logarithmic axis: rounding lies at the bottom, attention across document borders at the top. Of several seeds or mixes the first.
 *
 * @throws InputError if the baseline has no run, or is alone.
 */
export function drawTrainingLosses({ runs, baseline }: TrainingLossesInput): Figure {
  const reference = runs.find(({ strategy, faithful }) => strategy === baseline && !faithful);
  if (reference === undefined) throw new InputError(`missing baseline: ${baseline} (no run of it to compare with)`);
  const others = runs.filter((run) => run !== reference && isBeside(run, reference));
  if (others.length === 0) throw new InputError(`missing runs: none but ${baseline}'s`);
  const width = columnWidth.double;
  const room = width / 2;
  const shown = [reference, ...others];
  const colours = shown.map((_, i) => palette[i % palette.length]);
  const panel = (i: number, title: string, unit: string, marks: readonly Markish[], y: object): Panel[] => [
    ...headings(i * room, 0, "ab"[i], title, unit),
    plotPanel(
      {
        ...{ x: i * room, y: top, width: room, height: plotHeight + axisHeight },
        ...{ marginLeft: 34, marginRight: 10, marginTop: 4, marginBottom: axisHeight },
      },
      { x: { domain: [1, reference.steps] }, y, marks: [...marks, bottomAxis("step", { ticks: 5 })] },
    ),
  ];
  const lossLines = [reference, ...others.filter(({ faithful }) => faithful)].map((run) =>
    lineOf(run.losses, colours[shown.indexOf(run)], run.faithful),
  );
  const differences = others.map((run) => differencesOf(run, reference));
  const differenceLines = others.map((run, i) => lineOf(differences[i], colours[shown.indexOf(run)], run.faithful));
  const svg = drawPage({
    width,
    bodyHeight: top + plotHeight + axisHeight,
    title: "The loss of training with attention inside documents and across their borders",
    caption: captionOf(reference, shown),
    legend: legend(
      shown.map(
        (run, i): LegendEntry => ({
          label: lossRunName(run),
          colour: colours[i],
          shape: run.faithful ? "dashes" : "line",
        }),
      ),
      { width },
    ),
    panels: [
      ...panel(0, "loss", "nats a token", [...lossLines, leftAxis("", 28, { ticks: 5 })], {}),
      ...panel(
        1,
        `distance from ${baseline}`,
        "nats a token",
        [...differenceLines, leftAxis("", 28, { ticks: decades(differences), tickFormat: powerOfTen })],
        { type: "log", domain: [decades(differences)[0], decades(differences).at(-1)] },
      ),
    ],
  });
  return { number: 7, name: "contamination", svg, data: { ending: "csv", text: tableOf(shown) } };
}

const palette = [
  ...[okabeIto.black, okabeIto.green, okabeIto.skyBlue, okabeIto.purple, okabeIto.blue],
  ...[okabeIto.vermilion, okabeIto.orange, okabeIto.yellow],
];

/** Whether two runs differ in nothing but how they are spread. */
const isBeside = (a: LossRun, b: LossRun): boolean =>
  (["model", "mix", "tokens", "seed", "steps", "environment"] as const).every((name) => a[name] === b[name]);

const lineOf = (values: readonly number[], stroke: string, dashed: boolean): Markish =>
  line(
    values.map((value, i) => ({ step: i + 1, value })),
    { x: "step", y: "value", stroke, strokeWidth: 1, ...(dashed && { strokeDasharray: "3,1.5" }) },
  );

/** A logarithmic axis has no zero: losses that are as good as equal stand at its end. */
const closest = 1e-10;

const differencesOf = (run: LossRun, reference: LossRun): number[] =>
  run.losses.map((loss, i) => Math.max(Math.abs(loss - reference.losses[i]), closest));

/** Powers of ten around all values, at most six of them. */
function decades(differences: readonly (readonly number[])[]): number[] {
  const logs = differences.flat().map(Math.log10);
  const [low, high] = [Math.floor(Math.min(...logs)), Math.ceil(Math.max(...logs))];
  const step = Math.max(1, Math.ceil((high - low) / 6));
  const count = Math.ceil((high - low) / step);
  return Array.from({ length: count + 1 }, (_, i) => 10 ** (low + i * step));
}

const powerOfTen = (value: number): string => `1e${Math.round(Math.log10(value))}`;

function captionOf({ model, mix, tokens, steps, seed }: LossRun, shown: readonly LossRun[]): string {
  const ranks = Math.max(...shown.map((run) => run.ranks));
  return (
    `Measured: the ${model} model, ${steps} steps of ${tokens} tokens of the mix ${mix}, seed ${seed}, ${ranks} ranks. All runs have the same ` +
    "weights at the start, the same documents and the same text. As published: the strategy is for one sequence, and its tokens attend across document borders. " +
    `Runs that keep the borders are left out of a, where they lie on the reference's line; in b losses closer than ${closest} stand at the bottom.`
  );
}

function tableOf(shown: readonly LossRun[]): string {
  const [reference] = shown;
  const rows = reference.losses.map((_, i) => ({
    step: i + 1,
    ...Object.fromEntries(shown.map((run) => [lossRunName(run), run.losses[i]])),
  }));
  return stringify(rows, { header: true });
}
