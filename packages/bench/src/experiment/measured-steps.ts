import type { Pass } from "@hsap/schedule";
import { type Interval, median, pairedRatio } from "../statistics.ts";
import { type Trial, variantName } from "../trial.ts";
import { computeFloor } from "./compute-floor.ts";
import type { StepPredictions } from "./step-predictions.ts";

/** One strategy's step on one mix and pass, beside the computation that it must do. */
export interface MeasuredStep {
  readonly pass: Pass;
  readonly mix: string;
  readonly strategy: string;
  readonly variant: string;
  readonly trials: readonly Trial[];
  /** Median, measured. */
  readonly wallMs: number;
  /** Median of step / compute floor of the same repeat; missing for the floor itself. */
  readonly floorRatio?: Interval;
  /** What the simulator predicts for it, and how far that is off: predicted / measured - 1. */
  readonly predictedMs?: number;
  readonly predictionError?: number;
}

/** The steps of an experiment that measures its compute floor, in the order of the trials; none if it does not. */
export function measuredSteps(trials: readonly Trial[], predictions?: StepPredictions): MeasuredStep[] {
  const groups = new Map<string, Trial[]>();
  for (const trial of trials) {
    const key = `${cellOf(trial)}|${variantName(trial)}`;
    groups.set(key, [...(groups.get(key) ?? []), trial]);
  }
  const floors = new Map<string, readonly Trial[]>();
  for (const group of groups.values()) if (group[0].strategy === computeFloor.name) floors.set(cellOf(group[0]), group);
  const predicted = new Map(
    predictions?.steps.map((step) => [`${step.pass}|${step.mix}|${step.variant}`, step.stepMs]),
  );
  return [...groups].flatMap(([key, group]) => {
    const [{ problem, strategy }] = group;
    const floor = floors.get(cellOf(group[0]));
    if (floor === undefined) return [];
    const wallMs = median(group.map((trial) => trial.wallMs));
    const predictedMs = predicted.get(key);
    return [
      {
        ...{ pass: problem.pass, mix: problem.mix, strategy, variant: variantName(group[0]), trials: group, wallMs },
        ...(group !== floor && { floorRatio: stepRatio(group, floor) }),
        ...(predictedMs !== undefined && { predictedMs, predictionError: predictedMs / wallMs - 1 }),
      },
    ];
  });
}

/** The ratio of two strategies' steps in the same repeat on the same pack. */
export function stepRatio(of: readonly Trial[], to: readonly Trial[]): Interval {
  const partners = new Map(to.map((trial) => [pairOf(trial), trial.wallMs]));
  const pairs = of.flatMap((trial) => {
    const partner = partners.get(pairOf(trial));
    return partner === undefined ? [] : [[trial.wallMs, partner] as const];
  });
  return pairedRatio(
    pairs.map(([wallMs]) => wallMs),
    pairs.map(([, wallMs]) => wallMs),
  );
}

/** The median of how far predictions are off, either way; undefined without predictions. */
export function medianPredictionError(steps: readonly MeasuredStep[]): number | undefined {
  const errors = steps.flatMap(({ predictionError }) =>
    predictionError === undefined ? [] : [Math.abs(predictionError)],
  );
  return errors.length === 0 ? undefined : median(errors);
}

const cellOf = ({ problem }: Trial): string => `${problem.pass}|${problem.mix}`;
const pairOf = ({ problem, repeat }: Trial): string => `${problem.lengthsDigest} ${problem.seed} ${repeat}`;
