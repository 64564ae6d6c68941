import { existsSync } from "node:fs";
import { join } from "node:path";
import {
  checkTargets,
  type ExperimentResult,
  type GivenPack,
  hardwareFileBeside,
  type Interval,
  type MeasuredStep,
  measuredSteps,
  medianPredictionError,
  predictSteps,
  readPredictions,
  type TargetVerdict,
  writePredictions,
} from "@hsap/bench";
import { type Column, formatTable, shortNumber } from "./table.ts";

/** What an experiment that measures its compute floor says of steps: each with its floor and prediction, and the targets. */
export interface StepReport {
  readonly steps: readonly MeasuredStep[];
  readonly targets: readonly TargetVerdict[];
  readonly medianPredictionError: number | undefined;
}

export interface StepSources {
  /** Of the results; predictions are kept there. */
  readonly folder: string;
  /** As the user gave it; predictions are made by the hardware file beside it. */
  readonly cluster: string | undefined;
  readonly pack: GivenPack | undefined;
}

/** The report of an experiment, and of its steps' predictions where the cluster's hardware was measured; undefined without a floor. */
export function stepReport(result: ExperimentResult, sources: StepSources): StepReport | undefined {
  const file = join(sources.folder, "predictions.json");
  const hardware = sources.cluster === undefined ? undefined : hardwareFileBeside(sources.cluster);
  if (hardware !== undefined && existsSync(hardware))
    writePredictions(file, predictSteps(result.experiment, hardware, sources.pack));
  const steps = measuredSteps(result.trials, readPredictions(file));
  if (steps.length === 0) return undefined;
  return { steps, targets: checkTargets(steps), medianPredictionError: medianPredictionError(steps) };
}

/** The report without trials, as JSON. */
export function stepReportData({ steps, targets, medianPredictionError: error }: StepReport): object {
  return {
    steps: steps.map(({ trials, ...step }) => ({ ...step, trials: trials.length })),
    targets,
    medianPredictionError: error,
  };
}

export function formatStepReport({ steps, targets, medianPredictionError: error }: StepReport): string {
  const lines = [
    "# steps beside the computation that they must do. measured: median wall time. floor: over that of compute-floor, the same documents in",
    "#   equal shares with nothing to send, in the same repeat. simulated: predicted from what hsap calibrate --launcher measured.",
    ...(error === undefined
      ? []
      : [`# predictions are off by ${percent(error)} % in the middle of ${steps.length} rows`]),
  ];
  const held = targets.filter(({ holds }) => holds).length;
  return [
    `#\n${formatTable(stepColumns(error !== undefined), steps)}`,
    `${lines.join("\n")}\n`,
    targets.length === 0 ? "" : `#\n${formatTable(targetColumns, targets)}`,
    targets.length === 0 ? "" : `# targets: ${held} of ${targets.length} reached\n`,
  ].join("");
}

function stepColumns(predicted: boolean): Column<MeasuredStep>[] {
  const simulated: Column<MeasuredStep>[] = [
    {
      title: "simulated",
      unit: "ms",
      value: ({ predictedMs }) => (predictedMs === undefined ? "-" : shortNumber(predictedMs)),
    },
    {
      title: "off by",
      unit: "%",
      value: ({ predictionError }) => (predictionError === undefined ? "-" : percent(predictionError)),
    },
  ];
  return [
    { title: "pass", align: "left", value: ({ pass }) => pass },
    { title: "mix", align: "left", value: ({ mix }) => mix },
    { title: "strategy", align: "left", value: ({ variant }) => variant },
    { title: "measured", unit: "ms", value: ({ wallMs }) => shortNumber(wallMs) },
    {
      title: "floor",
      unit: "95 %",
      value: ({ floorRatio }) => (floorRatio === undefined ? "1" : intervalText(floorRatio)),
    },
    ...(predicted ? simulated : []),
  ];
}

const targetColumns: readonly Column<TargetVerdict>[] = [
  { title: "target", align: "left", value: ({ target }) => target },
  { title: "where", align: "left", value: ({ where }) => where },
  { title: "asked", unit: "at most", value: ({ asked }) => `${asked}` },
  { title: "reached", value: ({ reached }) => reached.toFixed(3) },
  { title: "interval", unit: "95 %", value: ({ interval }) => (interval === undefined ? "-" : intervalText(interval)) },
  { title: "verdict", align: "left", value: ({ holds }) => (holds ? "reached" : "MISSED") },
];

const intervalText = ({ estimate, low, high }: Interval): string =>
  `${estimate.toFixed(2)} [${low.toFixed(2)}, ${high.toFixed(2)}]`;

const percent = (share: number): string => (100 * share).toFixed(1);
