import type { Interval } from "../statistics.ts";
import { computeFloor } from "./compute-floor.ts";
import { type MeasuredStep, medianPredictionError, stepRatio } from "./measured-steps.ts";

/** A target for measured steps, and whether it is reached. */
export interface TargetVerdict {
  readonly target: string;
  readonly where: string;
  /** The highest that is asked for. */
  readonly asked: number;
  readonly reached: number;
  /** The 95 % interval, for ratios of paired runs. */
  readonly interval?: Interval;
  readonly holds: boolean;
}

/** What is asked of measured steps on a cluster whose slow link is slow. */
const stepTargets = {
  /** `hsap` over the compute floor, on these mixes. */
  floor: { mixes: ["hybrid", "code"], most: 1.15 },
  /** `hsap` over the best baseline, wherever that one is above so many times the floor. */
  best: { above: 1.5, most: 0.75 },
  /** `hsap` over each of these, there. */
  each: { strategies: ["colai-sp", "ulysses", "megatron-attention"], most: 0.5 },
  /** `hsap` over the best baseline on one document. */
  single: { mix: "single", most: 1.02 },
  /** Median error of predictions. */
  prediction: { most: 0.1 },
} as const;

/**
 * Checks steps against the targets, cell after cell. The first variant of `hsap` in each cell counts: the one whose degrees it has
 * chosen itself where the experiment gives none.
 */
export function checkTargets(steps: readonly MeasuredStep[]): TargetVerdict[] {
  const cells = new Map<string, MeasuredStep[]>();
  for (const step of steps) {
    const key = `${step.mix} ${step.pass}`;
    cells.set(key, [...(cells.get(key) ?? []), step]);
  }
  const verdicts = [...cells].flatMap(([where, cell]) => cellVerdicts(where, cell));
  const error = medianPredictionError(steps);
  if (error !== undefined)
    verdicts.push(verdictOf("median error of predictions", "all rows", stepTargets.prediction.most, error));
  return verdicts;
}

function cellVerdicts(where: string, cell: readonly MeasuredStep[]): TargetVerdict[] {
  const hsap = cell.find(({ strategy }) => strategy === "hsap");
  const baselines = cell.filter(({ strategy }) => strategy !== "hsap" && strategy !== computeFloor.name);
  if (hsap === undefined || baselines.length === 0) return [];
  const best = baselines.reduce((least, step) => (step.wallMs < least.wallMs ? step : least));
  const { floor, best: ofBest, each, single } = stepTargets;
  const verdicts: TargetVerdict[] = [];
  const over = (target: string, most: number, to: MeasuredStep): void => {
    verdicts.push(verdictOf(target, where, most, stepRatio(hsap.trials, to.trials)));
  };
  if (hsap.floorRatio !== undefined && (floor.mixes as readonly string[]).includes(hsap.mix))
    verdicts.push(verdictOf("hsap / compute floor", where, floor.most, hsap.floorRatio));
  if (hsap.mix === single.mix) over(`hsap / best baseline (${best.variant})`, single.most, best);
  if ((best.floorRatio?.estimate ?? 0) > ofBest.above) {
    over(`hsap / best baseline (${best.variant})`, ofBest.most, best);
    for (const step of baselines)
      if ((each.strategies as readonly string[]).includes(step.strategy))
        over(`hsap / ${step.variant}`, each.most, step);
  }
  return verdicts;
}

function verdictOf(target: string, where: string, asked: number, value: number | Interval): TargetVerdict {
  const reached = typeof value === "number" ? value : value.estimate;
  return {
    target,
    where,
    asked,
    reached,
    ...(typeof value !== "number" && { interval: value }),
    holds: reached <= asked,
  };
}
