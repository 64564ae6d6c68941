import { type Hardware, hardwareOf, type PublishedRow, publishedRows } from "@hsap/simulator";
import { InputError } from "@hsap/workload";
import { fittedValues, type Linearised, linearise } from "./fit.ts";
import { constantIn, type FittedConstant, fittedConstants, withConstants } from "./fitted-constants.ts";
import { type PredictedRow, type PreparedRow, predictRow, prepareRow, publishedCluster } from "./predicted-rows.ts";

/** How well one set of constants predicts the published rows, and what it predicts of rows that it was not fitted to. */
export interface CalibrationReport {
  readonly rows: readonly PredictedRow[];
  readonly errors: ErrorSummary;
  /** Each system's rows, predicted with constants that were fitted to the other systems only. */
  readonly systemsHeldOut: readonly HeldOut[];
  /** Each eighth of the rows, likewise. */
  readonly eighthsHeldOut: readonly HeldOut[];
  readonly constants: readonly { readonly constant: FittedConstant; readonly value: number }[];
}

export interface HeldOut {
  readonly name: string;
  readonly rows: readonly PredictedRow[];
  readonly errors: ErrorSummary;
}

/** Absolute errors relative to what was published. */
export interface ErrorSummary {
  readonly median: number;
  readonly worst: number;
  readonly above20Percent: number;
}

export interface CalibrationOptions {
  /** Packs that stand for the evaluation's in each packed row, for up to 8 ranks and for more. */
  readonly packs: { readonly small: number; readonly large: number };
  readonly seed: number;
  readonly hardware?: Hardware;
  /** Cross-validation needs slopes: as many more predictions of all rows as there are constants. */
  readonly crossValidate: boolean;
  /** Other rows than those of the project's data, in the same form. */
  readonly published?: readonly PublishedRow[];
  readonly onRow?: (done: number, of: number) => void;
}

/** Predicts every published row with the constants of the hardware file. */
export function calibrationReport(options: CalibrationOptions): CalibrationReport {
  const published = options.published ?? publishedRows();
  if (published.length === 0) throw new InputError("no published rows: nothing to predict");
  const hardware = options.hardware ?? hardwareOf(publishedCluster(published[0]));
  const prepared = published.map((row, i) => {
    options.onRow?.(i, published.length);
    const packs = row.ranks > 8 ? options.packs.large : options.packs.small;
    return prepareRow(row, { packs, seed: options.seed });
  });
  const lines = options.crossValidate ? linearise(prepared, hardware, fittedConstants) : undefined;
  // Rows of several devices each have their own hardware, unless one is given.
  const rows = lines?.predicted ?? prepared.map((row) => predictRow(row, options.hardware));
  const systems = [...new Set(published.map(({ system }) => system))];
  const eighths = Array.from({ length: 8 }, (_, i) => i);
  return {
    rows,
    errors: errorSummary(rows),
    systemsHeldOut:
      lines === undefined ? [] : systems.map((name) => heldOut(name, prepared, lines, (row) => row.system === name)),
    eighthsHeldOut:
      lines === undefined
        ? []
        : eighths.map((eighth) =>
            // A chart is eight rows in a row: each eighth takes one row of every chart, of another system in each.
            heldOut(`${eighth + 1} of 8`, prepared, lines, (row) => {
              const at = published.indexOf(row);
              return (at + Math.floor(at / 8)) % 8 === eighth;
            }),
          ),
    constants: fittedConstants.map((constant) => ({ constant, value: constantIn(hardware, constant) })),
  };
}

function errorSummary(rows: readonly PredictedRow[]): ErrorSummary {
  const sorted = rows.map(({ error }) => Math.abs(error)).sort((a, b) => a - b);
  const middle = sorted.length / 2;
  const median = (sorted[Math.ceil(middle) - 1] + sorted[Math.floor(middle)]) / 2;
  return { median, worst: sorted[sorted.length - 1], above20Percent: sorted.filter((error) => error > 0.2).length };
}

/** The share of pairs of rows of one chart, published more than 10 % apart, that are predicted in the published order. */
export function orderedShare(rows: readonly PredictedRow[]): { readonly right: number; readonly pairs: number } {
  let [right, pairs] = [0, 0];
  rows.forEach((a, i) => {
    for (const b of rows.slice(i + 1)) {
      const sameChart = a.row.mask === b.row.mask && a.row.pass === b.row.pass && a.row.ranks === b.row.ranks;
      const [low, high] = a.row.tflopsPerDevice < b.row.tflopsPerDevice ? [a, b] : [b, a];
      if (!sameChart || high.row.tflopsPerDevice <= 1.1 * low.row.tflopsPerDevice) continue;
      pairs++;
      if (high.predictedTflops > low.predictedTflops) right++;
    }
  });
  return { right, pairs };
}

function heldOut(
  name: string,
  prepared: readonly PreparedRow[],
  lines: Linearised,
  isHeldOut: (row: PublishedRow) => boolean,
): HeldOut {
  const values = fittedValues(lines, ({ row }) => !isHeldOut(row));
  const hardware = withConstants(lines.hardware, lines.constants, values);
  const rows = prepared.filter(({ row }) => isHeldOut(row)).map((row) => predictRow(row, hardware));
  return { name, rows, errors: errorSummary(rows) };
}

/** The report as a page. `names` of constants are their paths in the hardware file. */
export function formatCalibrationReport(report: CalibrationReport): string {
  const percent = (value: number) => `${(100 * value).toFixed(1)} %`;
  const summary = ({ median, worst, above20Percent }: ErrorSummary) =>
    `median ${percent(median)}, worst ${percent(worst)}, ${above20Percent} above 20 %`;
  const { right, pairs } = orderedShare(report.rows);
  const held = (title: string, parts: readonly HeldOut[]) =>
    parts.length === 0
      ? []
      : [
          `## Held out: ${title}`,
          "",
          `All: ${summary(errorSummary(parts.flatMap(({ rows }) => rows)))}.`,
          "",
          "| held out | median | worst |",
          "|---|---|---|",
          ...parts.map(({ name, errors }) => `| ${name} | ${percent(errors.median)} | ${percent(errors.worst)} |`),
          "",
        ];
  return [
    `Absolute error over ${report.rows.length} rows: ${summary(report.errors)}.`,
    `Pairs of systems more than 10 % apart in one chart: ${right} of ${pairs} in the published order${pairs > 0 ? ` (${percent(right / pairs)})` : ""}.`,
    "",
    "| mask | pass | ranks | system | published | simulated | error |",
    "|---|---|---|---|---|---|---|",
    ...report.rows.map(
      ({ row, predictedTflops, error }) =>
        `| ${row.mask} | ${row.pass} | ${row.ranks} | ${row.system} | ${row.tflopsPerDevice} | ${predictedTflops.toFixed(0)} | ${(100 * error).toFixed(0)} % |`,
    ),
    "",
    ...held("one system at a time", report.systemsHeldOut),
    ...held("one row of each chart at a time", report.eighthsHeldOut),
    "## Constants",
    "",
    "| constant | without the rows | fitted | where the first comes from |",
    "|---|---|---|---|",
    ...report.constants.map(
      ({ constant, value }) =>
        `| ${constant.path.join(".")} | ${constant.prior} | ${Number(value.toPrecision(3))} | ${constant.source} |`,
    ),
    "",
  ].join("\n");
}
