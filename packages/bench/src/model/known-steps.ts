import {
  type LayerStrategy,
  MemoryCount,
  type ModelProblem,
  madeAgain,
  type RankMemory,
  recomputationOf,
  type StageName,
  type StepSchedules,
  stageNames,
  type UpdateStageName,
} from "@hsap/model";
import type { Degrees, Schedule, StrategyOptions } from "@hsap/schedule";
import { type Hardware, hardwareOf, type SimulationOptions, simulate } from "@hsap/simulator";

/** What a step is compiled and predicted with, besides the problem. */
export interface PredictionOptions extends Pick<SimulationOptions, "hardware" | "kernel" | "library"> {
  readonly strategyOptions?: StrategyOptions;
}

/** Simulated times of one run of each part of a step, milliseconds. */
export interface StepTimes {
  readonly stageMs: Readonly<Record<StageName, number>>;
  /** Gathers the first layer's weights, where layers gather those of the next. */
  readonly gatherMs: number;
  readonly layerUpdateMs: number;
  readonly endUpdateMs: number;
}

// Schedules of a step over 64 ranks take some tens of megabytes.
const mostHeld = 32;

/**
 * Steps of one model on one batch and cluster that were worked out before, by strategy, degrees and what else a problem may ask for: whoever asks again, as another choice of
 * degrees does that has them among its candidates, or with a backward pass that computes whole layers again, has them without compiling.
 */
export class KnownSteps {
  readonly #steps = new Map<LayerStrategy, Map<string, KnownStep>>();
  readonly #held = new Set<KnownStep>();

  constructor(private readonly options: PredictionOptions = {}) {}

  /** @throws InputError if the strategy refuses the problem. */
  step(problem: ModelProblem, strategy: LayerStrategy, degrees: Degrees): KnownStep {
    const ofStrategy = this.#steps.get(strategy) ?? new Map<string, KnownStep>();
    this.#steps.set(strategy, ofStrategy);
    const { prefetch = false, receivedKv = "fetch" } = problem;
    const again = prefetch ? recomputationOf(problem) : madeAgain(problem);
    const key = JSON.stringify([again, prefetch, receivedKv, Object.entries(degrees).filter(isSplit).sort()]);
    const step = ofStrategy.get(key) ?? new KnownStep(problem, strategy, degrees, this.options);
    ofStrategy.set(key, step);
    this.#held.delete(step);
    this.#held.add(step);
    if (this.#held.size > mostHeld) {
      const [oldest] = this.#held;
      oldest.drop();
      this.#held.delete(oldest);
    }
    return step;
  }
}

/** Degrees of 1 may be left out where a strategy's own degrees follow from the others. */
const isSplit = ([degree, value]: [string, number]): boolean =>
  value !== 1 || (degree !== "tensor" && degree !== "data");

/** One step, compiled, counted and simulated no more than once, and only as far as somebody asks. */
export class KnownStep {
  #schedules: StepSchedules | undefined;
  #degrees: Degrees | undefined;
  readonly #count: MemoryCount;
  #times: StepTimes | undefined;

  constructor(
    private readonly problem: ModelProblem,
    private readonly strategy: LayerStrategy,
    private readonly asked: Degrees,
    private readonly options: PredictionOptions,
  ) {
    this.#count = new MemoryCount(problem, () => this.#compiled());
  }

  /** Those that were left out are the strategy's choice. */
  get degrees(): Degrees {
    this.#degrees ??= this.#compiled().loss.degrees;
    return this.#degrees;
  }

  /** Of the rank that needs most, where as much is computed again as `problem` says. */
  memory(problem: ModelProblem): RankMemory {
    return this.#count.most(problem);
  }

  /** Whether a rank needs more than that: said of most steps that do sooner than what they need. */
  exceeds(problem: ModelProblem, limitBytes: number): boolean {
    return this.#count.exceeds(problem, limitBytes);
  }

  get times(): StepTimes {
    this.#times ??= this.#simulated();
    return this.#times;
  }

  /** Gives the schedules back; they are compiled again if they should be asked for. */
  drop(): void {
    this.#schedules = undefined;
    this.#count.drop();
  }

  #compiled(): StepSchedules {
    const { problem, strategy, asked, options } = this;
    this.#schedules ??= strategy.compile(problem, asked, options.strategyOptions);
    return this.#schedules;
  }

  #simulated(): StepTimes {
    const { hardware: given, kernel, library } = this.options;
    // Threads of one machine are predicted by a model of attention alone.
    const hardware: Hardware = { ...(given ?? hardwareOf(this.problem.cluster)), threads: undefined };
    const schedules = this.#compiled();
    const ms = (schedule: Schedule | undefined) =>
      schedule === undefined ? 0 : simulate(schedule, { kernel, library, hardware }).trace.durationUs / 1000;
    const update = (stage: UpdateStageName) => ms(schedules[stage]);
    return {
      stageMs: Object.fromEntries(stageNames.map((stage) => [stage, ms(schedules[stage])])) as StepTimes["stageMs"],
      gatherMs: ms(schedules.layerGather),
      layerUpdateMs: update("layerUpdate"),
      endUpdateMs: update("endUpdate"),
    };
  }
}
