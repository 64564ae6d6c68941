import { resolve } from "node:path";
import {
  type LossesResult,
  type LossRun,
  lossRunName,
  readLossExperiment,
  runLosses,
  workspacePath,
} from "@hsap/bench";
import { InputError } from "@hsap/workload";
import { drawBeside } from "../draw-beside.ts";
import { tableHeader } from "../header.ts";
import type { CommandContext, ExperimentOptions } from "../program.ts";
import { resumeShown } from "../resume-shown.ts";
import { type Column, formatTable } from "../table.ts";
import { refuseOtherOptions } from "../taken-options.ts";

/** `hsap experiment contamination`: trains what is missing, compares the losses, and draws their figure. */
export async function trainingLosses(name: string, options: ExperimentOptions, context: CommandContext): Promise<void> {
  const { output, version } = context;
  refuseOtherOptions(options, taken, `${name} trains what its file says; see hsap train for other runs`);
  const chosen = readLossExperiment(name, options.profile);
  const folder = resolve(options.results ?? workspacePath(`results/${name}`));
  const result = await resumeShown({ folder, what: "runs" }, context, (shown) => runLosses(chosen, shown));
  const rows = rowsOf(result);
  if (options.json) output.out(`${JSON.stringify({ experiment: name, origin: "measured", runs: rows }, null, 2)}\n`);
  else output.out(tableOf(result, rows, version));
  if (options.figures) await drawBeside(folder, context);
}

/** The options of an experiment that this one takes. */
const taken = ["profile", "results", "figures", "json", "list"];

interface Row {
  readonly mix: string;
  readonly seed: number;
  readonly strategy: string;
  readonly first: number;
  readonly middle: number;
  readonly last: number;
  /** The largest difference of any step to the baseline's loss, nats. */
  readonly farthest: number;
}

function rowsOf({ experiment, runs }: LossesResult): Row[] {
  return runs.map((run) => {
    const { mix, seed, losses, steps } = run;
    const base = runs.find((other) => isBaseline(other, run, experiment.baseline));
    if (base === undefined) throw new InputError(`missing baseline: ${experiment.baseline} (of ${mix}, seed ${seed})`);
    return {
      ...{ mix, seed, strategy: lossRunName(run) },
      ...{ first: losses[0], middle: losses[Math.floor((steps - 1) / 2)], last: losses[steps - 1] },
      farthest: Math.max(...losses.map((loss, i) => Math.abs(loss - base.losses[i]))),
    };
  });
}

const isBaseline = (other: LossRun, { mix, seed }: LossRun, baseline: string): boolean =>
  other.mix === mix && other.seed === seed && other.strategy === baseline && !other.faithful;

function tableOf({ experiment, trainedNow }: LossesResult, rows: readonly Row[], version: string): string {
  const { sweep, baseline, title, profile } = experiment;
  const middle = Math.floor((sweep.steps + 1) / 2);
  const columns: Column<Row>[] = [
    { title: "mix", align: "left", value: ({ mix }) => mix },
    { title: "seed", value: ({ seed }) => String(seed) },
    { title: "strategy", align: "left", value: ({ strategy }) => strategy },
    { title: "step 1", unit: "nats", value: ({ first }) => first.toFixed(4) },
    { title: `step ${middle}`, unit: "nats", value: (row) => row.middle.toFixed(4) },
    { title: `step ${sweep.steps}`, unit: "nats", value: ({ last }) => last.toFixed(4) },
    { title: `from ${baseline}`, unit: "nats", value: ({ farthest }) => farthest.toExponential(1) },
  ];
  return [
    tableHeader(
      version,
      `${title}: profile ${profile}, origin measured`,
      `${sweep.model}, ${sweep.tokens} tokens a step, ${sweep.ranks} ranks; from ${baseline}: the largest difference of any step's loss`,
    ),
    formatTable(columns, rows),
    `# ${rows.length} runs, ${trainedNow} of them trained now\n`,
  ].join("");
}
