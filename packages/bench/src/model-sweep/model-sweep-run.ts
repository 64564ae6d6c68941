import { KnownSteps } from "../model/known-steps.ts";
import { simulationEnvironment } from "../results/environment.ts";
import type { ResumeOptions } from "../results/make-missing.ts";
import { type Predictions, predictMissing } from "../results/predict-missing.ts";
import type { ModelSweep } from "./model-sweep-file.ts";
import { type ModelTrial, readModelTrials } from "./model-trial.ts";
import { type PlannedStep, plannedSteps } from "./planned-steps.ts";
import { predictedTrial } from "./predicted-trial.ts";

export interface ModelSweepResult extends Predictions<ModelTrial> {
  readonly experiment: ModelSweep;
}

/** Predicts what is missing of a sweep, as `predictMissing` says. */
export async function runModelSweep(experiment: ModelSweep, options: ResumeOptions): Promise<ModelSweepResult> {
  let [last, known] = [undefined as PlannedStep | undefined, new KnownSteps()];
  const result = await predictMissing<PlannedStep, ModelTrial>(
    {
      environment: simulationEnvironment(options.arguments),
      planned: plannedSteps(experiment),
      inOrder,
      read: readModelTrials,
      predict: (step, environmentId) => {
        if (last === undefined || !isSameCell(step, last)) known = new KnownSteps();
        last = step;
        return predictedTrial(step, environmentId, known);
      },
      ...{ weightOf, labelOf, what: "steps" },
    },
    options,
  );
  return { experiment, ...result };
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
