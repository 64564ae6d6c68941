import type { Degrees, Layout, Schedule, StrategyOption, StrategyOptions } from "@hsap/schedule";
import type { RankGrid } from "./hybrid/rank-grid.ts";
import type { ModelProblem } from "./model-problem.ts";
import type { StageName, UpdateStageName } from "./stage.ts";
import type { WeightPlacement } from "./weight-shards.ts";

/** The schedules of a step; all have the same layout, and the documents of the problem's batch in the same order. */
export interface StepSchedules extends Readonly<Record<StageName | UpdateStageName, Schedule>> {
  /** Gathers the first layer's weights, if the stages of a layer gather those of the next. */
  readonly layerGather?: Schedule;
}

/** What makes the schedules of a step. */
export type StageMakers = { readonly [Stage in keyof StepSchedules]: () => NonNullable<StepSchedules[Stage]> };

/** The schedules of a step, each made when it is first read, as whoever asks whether a step fits may not read them all. */
export function madeWhenRead(makers: StageMakers): StepSchedules {
  const schedules = {};
  for (const [stage, make] of Object.entries(makers)) {
    const define = (what: PropertyDescriptor) =>
      Object.defineProperty(schedules, stage, { enumerable: true, configurable: true, ...what });
    define({
      get: () => {
        const schedule = make();
        // The maker and all that it holds are let go.
        define({ value: schedule });
        return schedule;
      },
    });
  }
  return schedules as StepSchedules;
}

/** A way to spread a whole model over ranks: a pure function from a model problem to the schedules of its stages. */
export interface LayerStrategy {
  readonly name: string;
  readonly summary: string;
  readonly citation: string;
  readonly degreeNames: readonly string[];
  defaultDegrees(problem: ModelProblem): Degrees;
  /** Other degrees worth trying; none if the strategy cannot run the problem at all. */
  candidateDegrees(problem: ModelProblem): readonly Degrees[];
  /** Options it takes, with their meaning and default. */
  readonly options?: Readonly<Record<string, StrategyOption>>;
  /** Throws an InputError, in the system's own terms, for a problem or degrees that it does not support. */
  compile(problem: ModelProblem, degrees: Degrees, options?: StrategyOptions): StepSchedules;
}

/** What the stages of one step share. */
export interface StageContext {
  readonly problem: ModelProblem;
  readonly strategy: string;
  readonly degrees: Degrees;
  readonly layout: Layout;
  readonly grid: RankGrid;
  readonly placement: WeightPlacement;
}
