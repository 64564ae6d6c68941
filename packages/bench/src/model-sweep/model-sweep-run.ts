import { join } from "node:path";
import { KnownSteps } from "../model/known-steps.ts";
import { type Environment, recordEnvironment, simulationEnvironment } from "../results/environment.ts";
import { finishedRecords } from "../results/finished-records.ts";
import { lockFolder } from "../results/folder-lock.ts";
import { TrialWriter } from "../results/trial-log.ts";
import type { ModelSweep } from "./model-sweep-file.ts";
import { type ModelTrial, readModelTrials } from "./model-trial.ts";
import { type PlannedStep, plannedSteps } from "./planned-steps.ts";
import { predictedTrial } from "./predicted-trial.ts";

export interface ModelSweepOptions {
  /** Where `trials.jsonl` and `environment.json` are. Made if missing. */
  readonly folder: string;
  readonly arguments: readonly string[];
  readonly signal?: AbortSignal | undefined;
  /** What a person should know now, in one line. */
  readonly onNote?: ((note: string) => void) | undefined;
  /** `done` is the share of the work, 0 to 1. */
  readonly onProgress?: ((progress: ModelSweepProgress) => void) | undefined;
}

export interface ModelSweepProgress {
  readonly done: number;
  readonly trials: number;
  readonly allTrials: number;
  readonly label: string;
}

export interface ModelSweepResult {
  readonly experiment: ModelSweep;
  readonly environment: Environment;
  /** In the order of the plan, also those that an earlier run predicted. */
  readonly trials: readonly ModelTrial[];
  readonly predictedNow: number;
}

/**
 * Predicts what is missing of a sweep and appends it to the results folder, one step a line. Steps that the folder already has, of equal
 * inputs and equal code, are not predicted again, whatever the machine.
 *
 * @throws InputError if another run writes into the folder, or the folder holds something else.
 * @throws the signal's reason if it is aborted; what was predicted until then is kept.
 */
export async function runModelSweep(experiment: ModelSweep, options: ModelSweepOptions): Promise<ModelSweepResult> {
  const { folder, signal, onNote, onProgress } = options;
  const lock = lockFolder(folder);
  try {
    const environment = simulationEnvironment(options.arguments);
    const planned = plannedSteps(experiment);
    const file = join(folder, "trials.jsonl");
    const keys = new Set(planned.map(({ key }) => key));
    const finished = finishedRecords(file, readModelTrials(file), keys, environment, {
      ...{ what: "steps", anew: { done: "predicted anew", from: "other code" }, onNote },
    });
    const before = finished.size;
    recordEnvironment(join(folder, "environment.json"), environment);
    const writer = new TrialWriter<ModelTrial>(file, lock);
    const missing = inOrder(planned.filter(({ key }) => !finished.has(key)));
    const allWork = missing.reduce((sum, step) => sum + weightOf(step), 0);
    let work = 0;
    let [last, known] = [missing[0], new KnownSteps()];
    try {
      for (const step of missing) {
        if (!isSameCell(step, last)) known = new KnownSteps();
        last = step;
        const label = labelOf(step);
        onProgress?.({ done: work / allWork, trials: finished.size, allTrials: planned.length, label });
        // Lets an interruption and the progress bar in: predicting is one long computation.
        await new Promise(setImmediate);
        signal?.throwIfAborted();
        const trial = predictedTrial(step, environment.id, known);
        writer.append(trial);
        finished.set(trial.key, trial);
        work += weightOf(step);
      }
    } finally {
      writer.close();
    }
    onProgress?.({ done: 1, trials: finished.size, allTrials: planned.length, label: "" });
    const trials = planned.map(({ key }) => finished.get(key) as ModelTrial);
    return { experiment, environment, trials, predictedNow: finished.size - before };
  } finally {
    lock.release();
  }
}

/** Whether two steps are of one model on one batch and cluster: each cluster has batches of its own. */
const isSameCell = ({ problem: a }: PlannedStep, { problem: b }: PlannedStep): boolean =>
  a.batch === b.batch && a.model === b.model;

/** What takes long comes last, one mix after another, so that a run that is cut short has as many mixes as it can on all clusters. */
function inOrder(steps: readonly PlannedStep[]): PlannedStep[] {
  const mixes = [...new Set(steps.map(({ inputs }) => inputs.batch.mix))];
  const rankOf = ({ inputs: { ranks, batch } }: PlannedStep) => ranks * mixes.length + mixes.indexOf(batch.mix);
  return [...steps].sort((a, b) => rankOf(a) - rankOf(b));
}

/** Compiling takes about the square of the ranks, and a little for each document. */
const weightOf = ({ inputs: { ranks, batch } }: PlannedStep): number => 200 + ranks ** 2 + batch.documents / 4;

const labelOf = ({ inputs: { model, ranks, batch, strategy, cluster } }: PlannedStep): string =>
  `${cluster.split(" ")[0]} ${model} ${batch.mix} ${ranks} ranks: ${strategy}`;
