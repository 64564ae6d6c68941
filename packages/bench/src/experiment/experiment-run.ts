import { existsSync } from "node:fs";
import { join } from "node:path";
import { engineInfo, type ThreadOptions } from "@hsap/engine";
import { savedFrom } from "../accuracy.ts";
import { compileWith } from "../compiled.ts";
import type { JobRecord } from "../launch/job-record.ts";
import { measurePipeline } from "../pipeline/measured-pipeline.ts";
import { writePipeline } from "../pipeline/pipeline-record.ts";
import { ReferenceStore } from "../reference-store.ts";
import { currentEnvironment, type Environment } from "../results/environment.ts";
import { keepRecords } from "../results/kept-records.ts";
import type { ResumeOptions } from "../results/make-missing.ts";
import { readTrials } from "../results/trial-log.ts";
import { type RunSchedule, runHere } from "../run-schedule.ts";
import type { Trial } from "../trial.ts";
import type { Experiment } from "./experiment-file.ts";
import { measureTrial, type WarmSchedule, warmUp } from "./measured-trial.ts";
import { type PlannedCell, type PlannedTrial, plannedCells, type RefusedVariant } from "./planned-cells.ts";
import { type GivenPack, pipelineProblems, type Variant } from "./trial-plan.ts";
import { referenceWeight, WorkProgress } from "./work-progress.ts";

export interface ExperimentOptions extends ResumeOptions {
  /** Replaces the packs that the experiment draws. */
  readonly pack?: GivenPack | undefined;
  /** The job whose ranks run the schedules; threads of this process where left out. */
  readonly job?: { readonly job: JobRecord; readonly run: RunSchedule } | undefined;
  /** Threads that each trial computes with. */
  readonly threads?: ThreadOptions | undefined;
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
  const { compiler, isa } = engineInfo();
  const environment = currentEnvironment({
    ...{ compiler, isa, arguments: options.arguments },
    ...(options.job && { job: options.job.job }),
    ...(options.threads && { threads: options.threads }),
  });
  const refused: RefusedVariant[] = [];
  const cells = plannedCells(experiment, options.pack, refused);
  const planned = cells.flatMap(({ trials }) => trials);
  const plan = { environment, planned, read: readTrials, what: "trials" };
  const { trials, madeNow } = await keepRecords<PlannedTrial, Trial>(
    plan,
    { folder, onNote },
    async (finished, keep) => {
      const before = finished.size;
      const progress = new WorkProgress(cells, finished, options.onProgress);
      const references = new ReferenceStore(process.env.HSAP_REFERENCES);
      const context = { environment: environment.id, references, run: runWith(options), signal, keep };
      for (const cell of cells) await measureCell(cell, finished, progress, context);
      if (finished.size > before || !existsSync(join(folder, "pipeline")))
        await keepPipeline(experiment, environment, options);
    },
  );
  return { experiment, environment, trials, refused, measuredNow: madeNow };
}

/** Records the pipeline of an experiment that has one beside its trials. */
async function keepPipeline(experiment: Experiment, { id }: Environment, options: ExperimentOptions): Promise<void> {
  const { folder, job, signal, onNote } = options;
  if (experiment.pipeline === undefined) return;
  if (job === undefined) {
    const steps = await measurePipeline({ ...pipelineProblems(experiment), signal });
    writePipeline(join(folder, "pipeline"), id, steps);
  } else {
    onNote?.("note: the pipeline of this experiment is recorded where ranks are threads, not over a launcher");
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
  readonly keep: (trial: Trial) => void;
}

async function measureCell(
  { cell, trials }: PlannedCell,
  finished: ReadonlyMap<string, Trial>,
  progress: WorkProgress,
  { environment, references, run, signal, keep }: CellContext,
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
    keep(await measureTrial(warm.get(variant) as WarmSchedule, inputs, context));
    progress.add(problem, 1, 1);
  }
}
