import { clusterOf } from "@hsap/cluster";
import { engineInfo } from "@hsap/engine";
import { modelNamed } from "@hsap/model";
import { publishedOptions } from "@hsap/schedule";
import { initialState, layerStrategyNamed, type TrainingOptions, trainStep } from "@hsap/training";
import { InputError } from "@hsap/workload";
import { currentEnvironment, type Environment } from "../results/environment.ts";
import { makeMissing, type ResumeOptions } from "../results/make-missing.ts";
import { keyOf } from "../trial.ts";
import type { LossExperiment } from "./loss-experiment.ts";
import { type LossRun, type LossRunInputs, lossRunName, lossRunVersion, readLossRuns } from "./loss-run.ts";

export interface LossesResult {
  readonly experiment: LossExperiment;
  readonly environment: Environment;
  /** In the order of the plan, also those of an earlier call. */
  readonly runs: readonly LossRun[];
  readonly trainedNow: number;
}

/**
 * Trains what is missing of an experiment and appends it to the results folder, one run a line. A run that is cut off begins anew.
 *
 * @throws InputError if a strategy has nothing that was published otherwise than it does by default, or another run writes into the folder.
 * @throws the signal's reason if it is aborted; finished runs are kept.
 */
export async function runLosses(experiment: LossExperiment, options: ResumeOptions): Promise<LossesResult> {
  const { compiler, isa } = engineInfo();
  const { environment, trials, madeNow } = await makeMissing<PlannedRun, LossRun>(
    {
      environment: currentEnvironment({ compiler, isa, arguments: options.arguments, trains: true }),
      planned: plannedRuns(experiment).map((inputs) => ({ inputs, key: keyOf(inputs) })),
      read: readLossRuns,
      make: (run, environmentId, tell) => trainedRun(run, environmentId, options.signal, tell),
      labelOf: ({ inputs }) => lossRunName(inputs),
      what: "runs",
      anew: { done: "trained anew", from: "another machine or build" },
    },
    options,
  );
  return { experiment, environment, runs: trials, trainedNow: madeNow };
}

interface PlannedRun {
  readonly inputs: LossRunInputs;
  readonly key: string;
}

function plannedRuns({ name, sweep }: LossExperiment): LossRunInputs[] {
  const { model, mixes, tokens, seeds, ranks, ranksPerNode, steps, strategies } = sweep;
  return mixes.flatMap((mix) =>
    seeds.flatMap((seed) =>
      strategies.map(({ strategy, faithful = false }): LossRunInputs => {
        if (faithful && Object.keys(publishedOptions(layerStrategyNamed(strategy))).length === 0)
          throw new InputError(`invalid faithful: ${strategy} (does by default what was published)`);
        const isAlone = strategy === "reference";
        return {
          ...{ experiment: name, model, mix, tokens, seed, steps, strategy, faithful },
          ...{ ranks: isAlone ? 1 : ranks, ranksPerNode: isAlone ? 1 : ranksPerNode },
        };
      }),
    ),
  );
}

async function trainedRun(
  { inputs, key }: PlannedRun,
  environment: string,
  signal: AbortSignal | undefined,
  tell: (share: number) => void,
): Promise<LossRun> {
  const { model, mix, tokens, seed, ranks, ranksPerNode, steps, faithful } = inputs;
  const strategy = layerStrategyNamed(inputs.strategy);
  const training: TrainingOptions = {
    ...{ model: modelNamed(model), mix, tokens, seed, strategy, contaminated: faithful },
    strategyOptions: faithful ? publishedOptions(strategy) : {},
    cluster: clusterOf({ ranks, ranksPerNode }),
    ...(signal && { signal }),
  };
  const [losses, gradientNorms]: [number[], number[]] = [[], []];
  let state = initialState(training);
  while (state.step < steps) {
    signal?.throwIfAborted();
    tell(state.step / steps);
    const [next, record] = await trainStep(state, training);
    state = next;
    losses.push(record.loss);
    gradientNorms.push(record.gradientNorm);
  }
  return {
    ...inputs,
    ...{ schema: lossRunVersion, key, environment, at: new Date().toISOString(), origin: "measured" },
    ...{ losses, gradientNorms },
  };
}
