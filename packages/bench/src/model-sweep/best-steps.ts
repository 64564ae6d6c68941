import type { ModelTrial, PredictedStep } from "./model-trial.ts";

/** What a strategy reaches with one batch of one model on one cluster, over all degrees and weight placements that were tried. */
export interface BestStep {
  readonly cluster: string;
  readonly device: ModelTrial["device"];
  readonly model: string;
  readonly ranks: number;
  readonly mix: string;
  readonly seed: number;
  readonly tokens: number;
  readonly documents: number;
  readonly strategy: string;
  /** The fastest that fits; if none does, what needs least memory; if the strategy refuses all, its first reason. */
  readonly best: ModelTrial;
  /** With the strategy's own choice of degrees, without tensor ranks and data groups, where that was tried. */
  readonly own: ModelTrial | undefined;
}

/** The best of each strategy, in the order in which they first appear. */
export function bestSteps(trials: readonly ModelTrial[]): BestStep[] {
  const groups = new Map<string, ModelTrial[]>();
  for (const trial of trials) {
    const { cluster, model, ranks, batch, strategy } = trial;
    const key = JSON.stringify([cluster, model, ranks, batch.mix, batch.seed, batch.tokens, strategy]);
    const group = groups.get(key);
    if (group) group.push(trial);
    else groups.set(key, [trial]);
  }
  return [...groups.values()].map((group) => {
    const [{ cluster, device, model, ranks, batch, strategy }] = group;
    return {
      ...{ cluster: cluster.split(" ")[0], device, model, ranks, strategy },
      ...{ mix: batch.mix, seed: batch.seed, tokens: batch.tokens, documents: batch.documents },
      best: group.reduce((best, trial) => (isBetter(trial, best) ? trial : best)),
      own: group.find(({ degrees }) => degrees === "own"),
    };
  });
}

/** The predicted step of a trial; undefined where the strategy refused. */
export const predictedStepOf = ({ outcome }: ModelTrial): PredictedStep | undefined =>
  outcome.kind === "refused" ? undefined : outcome;

const order = { fits: 2, "out of memory": 1, refused: 0 } as const;

function isBetter({ outcome: a }: ModelTrial, { outcome: b }: ModelTrial): boolean {
  if (a.kind !== b.kind) return order[a.kind] > order[b.kind];
  if (a.kind === "fits" && b.kind === "fits") return a.stepMs < b.stepMs;
  if (a.kind === "out of memory" && b.kind === "out of memory") return a.memory.total < b.memory.total;
  return false;
}
