import { join } from "node:path";
import { clusterOf } from "@hsap/cluster";
import { engineInfo } from "@hsap/engine";
import { modelNamed } from "@hsap/model";
import { publishedOptions } from "@hsap/schedule";
import { initialState, layerStrategyNamed, type TrainingOptions, trainStep } from "@hsap/training";
import { InputError } from "@hsap/workload";
import { currentEnvironment, type Environment, recordEnvironment } from "../results/environment.ts";
import { finishedRecords } from "../results/finished-records.ts";
import { lockFolder } from "../results/folder-lock.ts";
import { TrialWriter } from "../results/trial-log.ts";
import { keyOf } from "../trial.ts";
import type { LossExperiment } from "./loss-experiment.ts";
import { type LossRun, type LossRunInputs, lossRunName, lossRunVersion, readLossRuns } from "./loss-run.ts";

export interface RunLossesOptions {
  /** Where `trials.jsonl` and `environment.json` are. Made if missing. */
  readonly folder: string;
  readonly arguments: readonly string[];
  readonly signal?: AbortSignal | undefined;
  readonly onNote?: ((note: string) => void) | undefined;
  /** `done` is the share of the steps, 0 to 1. */
  readonly onProgress?:
    | ((progress: { done: number; runs: number; allRuns: number; label: string }) => void)
    | undefined;
}

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
export async function runLosses(experiment: LossExperiment, options: RunLossesOptions): Promise<LossesResult> {
  const { folder, signal, onNote, onProgress } = options;
  const planned = plannedRuns(experiment).map((inputs) => ({ inputs, key: keyOf(inputs) }));
  const lock = lockFolder(folder);
  try {
    const { compiler, isa } = engineInfo();
    const environment = currentEnvironment({ compiler, isa, arguments: options.arguments, trains: true });
    const file = join(folder, "trials.jsonl");
    const keys = new Set(planned.map(({ key }) => key));
    const finished = finishedRecords(file, readLossRuns(file), keys, environment, {
      ...{ what: "runs", anew: { done: "trained anew", from: "another machine or build" }, onNote },
    });
    const before = finished.size;
    recordEnvironment(join(folder, "environment.json"), environment);
    const writer = new TrialWriter<LossRun>(file, lock);
    try {
      for (const { inputs, key } of planned) {
        if (finished.has(key)) continue;
        const run = await trainedRun({ inputs, key }, environment.id, signal, (step) => {
          const done = (finished.size + step / inputs.steps) / planned.length;
          onProgress?.({ done, runs: finished.size, allRuns: planned.length, label: lossRunName(inputs) });
        });
        writer.append(run);
        finished.set(key, run);
      }
    } finally {
      writer.close();
    }
    const runs = planned.map(({ key }) => finished.get(key) as LossRun);
    return { experiment, environment, runs, trainedNow: finished.size - before };
  } finally {
    lock.release();
  }
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
  { inputs, key }: { readonly inputs: LossRunInputs; readonly key: string },
  environment: string,
  signal: AbortSignal | undefined,
  onStep: (step: number) => void,
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
    onStep(state.step);
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
