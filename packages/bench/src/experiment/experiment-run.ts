import { existsSync } from "node:fs";
import { join } from "node:path";
import { engineInfo, type ThreadOptions } from "@hsap/engine";
import { savedFrom } from "../accuracy.ts";
import { compileWith } from "../compiled.ts";
import type { JobRecord } from "../launch/job-record.ts";
import { measurePipeline } from "../pipeline/measured-pipeline.ts";
import { writePipeline } from "../pipeline/pipeline-record.ts";
import { ReferenceStore } from "../reference-store.ts";
import { currentEnvironment, type Environment, recordEnvironment } from "../results/environment.ts";
import { finishedRecords } from "../results/finished-records.ts";
import { lockFolder } from "../results/folder-lock.ts";
import { readTrials, TrialWriter } from "../results/trial-log.ts";
import { type RunSchedule, runHere } from "../run-schedule.ts";
import type { Trial } from "../trial.ts";
import type { Experiment } from "./experiment-file.ts";
import { measureTrial, type WarmSchedule, warmUp } from "./measured-trial.ts";
import { type PlannedCell, plannedCells, type RefusedVariant } from "./planned-cells.ts";
import { type GivenPack, pipelineProblems, type Variant } from "./trial-plan.ts";
import { type ExperimentProgress, referenceWeight, WorkProgress } from "./work-progress.ts";

export interface ExperimentOptions {
  /** Where `trials.jsonl` and `environment.json` are. Made if missing. */
  readonly folder: string;
  readonly arguments: readonly string[];
  /** Replaces the packs that the experiment draws. */
  readonly pack?: GivenPack | undefined;
  /** The job whose ranks run the schedules; threads of this process where left out. */
  readonly job?: { readonly job: JobRecord; readonly run: RunSchedule } | undefined;
  /** Threads that each trial computes with. */
  readonly threads?: ThreadOptions | undefined;
  readonly signal?: AbortSignal | undefined;
  /** What a person should know now, in one line. */
  readonly onNote?: ((note: string) => void) | undefined;
  readonly onProgress?: ((progress: ExperimentProgress) => void) | undefined;
}

export interface ExperimentResult {
  readonly experiment: Experiment;
  readonly environment: Environment;
  /** The trials of this experiment, profile and environment, also those that an earlier run measured. */
  readonly trials: readonly Trial[];
  readonly refused: readonly RefusedVariant[];
  readonly measuredNow: number;
}

/**
 * Measures what is missing of an experiment and appends it to the results folder, one trial a line. Trials that the
 * folder already has, of equal inputs on an equal machine with equal code, are not measured again.
 *
 * @throws InputError if another run writes into the folder, or the folder holds something else.
 * @throws Error if this one stood still for so long that another has taken the folder over.
 * @throws the signal's reason if it is aborted; what was measured until then is kept.
 */
export async function runExperiment(experiment: Experiment, options: ExperimentOptions): Promise<ExperimentResult> {
  const { folder, signal, onNote } = options;
  const lock = lockFolder(folder);
  try {
    const { compiler, isa } = engineInfo();
    const environment = currentEnvironment({
      ...{ compiler, isa, arguments: options.arguments },
      ...(options.job && { job: options.job.job }),
      ...(options.threads && { threads: options.threads }),
    });
    const file = join(folder, "trials.jsonl");
    const refused: RefusedVariant[] = [];
    const cells = plannedCells(experiment, options.pack, refused);
    const planned = new Set(cells.flatMap(({ trials }) => trials.map(({ key }) => key)));
    const finished = finishedRecords(file, readTrials(file), planned, environment, { what: "trials", onNote });
    const before = finished.size;
    recordEnvironment(join(folder, "environment.json"), environment);
    const writer = new TrialWriter(file, lock);
    const progress = new WorkProgress(cells, finished, options.onProgress);
    const references = new ReferenceStore(process.env.HSAP_REFERENCES);
    try {
      for (const cell of cells) {
        await measureCell(cell, finished, progress, {
          environment: environment.id,
          references,
          run: runWith(options),
          signal,
          append: (trial) => {
            writer.append(trial);
            finished.set(trial.key, trial);
          },
        });
      }
    } finally {
      writer.close();
    }
    const trials = cells.flatMap(({ trials: planned }) => planned.map(({ key }) => finished.get(key) as Trial));
    const measuredNow = finished.size - before;
    if (experiment.pipeline !== undefined && (measuredNow > 0 || !existsSync(join(folder, "pipeline")))) {
      if (options.job === undefined) {
        const steps = await measurePipeline({ ...pipelineProblems(experiment), signal });
        writePipeline(join(folder, "pipeline"), environment.id, steps);
      } else {
        onNote?.("note: the pipeline of this experiment is recorded where ranks are threads, not over a launcher");
      }
    }
    return { experiment, environment, trials, refused, measuredNow };
  } finally {
    lock.release();
  }
}

/** Runs on the job's ranks or here, with the threads that were asked for. */
function runWith({ job, threads }: ExperimentOptions): RunSchedule {
  const run = job?.run ?? runHere;
  return (compiled, options) => run(compiled, { ...threads, ...options });
}

interface CellContext {
  readonly environment: string;
  readonly references: ReferenceStore;
  readonly run: RunSchedule;
  readonly signal: AbortSignal | undefined;
  append(trial: Trial): void;
}

async function measureCell(
  { cell, trials }: PlannedCell,
  finished: ReadonlyMap<string, Trial>,
  progress: WorkProgress,
  { environment, references, run, signal, append }: CellContext,
): Promise<void> {
  const missing = trials.filter(({ key }) => !finished.has(key));
  if (missing.length === 0) return;
  const { problem, mix } = cell;
  progress.say(`${mix} ${problem.pass}: float64 reference`);
  const expected = await references.of(problem, cell.seed, signal);
  const context = { expected, saved: savedFrom(expected), run, seed: cell.seed, environment, signal };
  progress.add(problem, referenceWeight);
  const warm = new Map<Variant, WarmSchedule>();
  for (const variant of new Set(missing.map((trial) => trial.variant))) {
    signal?.throwIfAborted();
    progress.say(`${mix} ${problem.pass}: ${variant.strategy.name} warms up`);
    const { degrees, options } = variant;
    const compiled = compileWith(variant.strategy, problem, { degrees, options });
    const [broken] = compiled.findings;
    if (broken) throw new Error(`broken schedule: ${variant.strategy.name} on ${mix} (${broken.message})`);
    warm.set(variant, await warmUp(compiled, context));
    progress.add(problem, 1);
  }
  for (const { variant, inputs } of missing) {
    signal?.throwIfAborted();
    progress.say(`${mix} ${problem.pass}: ${variant.strategy.name}`);
    append(await measureTrial(warm.get(variant) as WarmSchedule, inputs, context));
    progress.add(problem, 1, 1);
  }
}
