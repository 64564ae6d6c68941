import type { Problem } from "@hsap/schedule";
import { InputError } from "@hsap/workload";
import { type TrialInputs, trialKey, variantName } from "../trial.ts";
import type { Experiment } from "./experiment-file.ts";
import {
  type GivenPack,
  rotated,
  type TrialCell,
  trialCells,
  trialInputsOf,
  type Variant,
  variantsOf,
} from "./trial-plan.ts";

/** A variant that does not support a problem, in its own words. */
export interface RefusedVariant {
  readonly strategy: string;
  readonly reason: string;
}

export interface PlannedTrial {
  readonly variant: Variant;
  readonly inputs: TrialInputs;
  readonly key: string;
}

export interface PlannedCell {
  readonly cell: TrialCell;
  /** In the order in which they run. */
  readonly trials: readonly PlannedTrial[];
}

/** Settles every variant for every cell; what a strategy refuses is left out of the plan and added to `refused`. */
export function plannedCells(
  experiment: Experiment,
  pack: GivenPack | undefined,
  refused: RefusedVariant[],
): PlannedCell[] {
  const { strategies, repeats } = experiment.sweep;
  return trialCells(experiment, pack).map((cell) => {
    const entries = strategies
      .filter(({ mixes, passes }) => isListed(mixes, cell.mix) && isListed(passes, cell.problem.pass))
      .flatMap((given) => variantsOf(given, cell.problem).map((variant) => ({ variant, repeats: given.repeats })))
      .filter(({ variant }) => isAccepted(variant, cell.problem, refused))
      .filter(isFirstOfItsName);
    const inRepeat = (repeat: number) => entries.filter(({ repeats: own = repeats }) => repeat < own);
    const trials = Array.from({ length: repeats }, (_, repeat) =>
      rotated(inRepeat(repeat), repeat).map(({ variant }) => {
        const inputs = trialInputsOf(experiment, cell, variant, repeat);
        return { variant, inputs, key: trialKey(inputs) };
      }),
    );
    return { cell, trials: trials.flat() };
  });
}

interface Entry {
  readonly variant: Variant;
}

const isListed = (list: readonly string[] | undefined, name: string): boolean => list?.includes(name) ?? true;

/** Degrees that are given may be those that a strategy chooses itself. */
function isFirstOfItsName({ variant }: Entry, index: number, all: readonly Entry[]): boolean {
  return all.findIndex((other) => nameOf(other.variant) === nameOf(variant)) === index;
}

const nameOf = ({ strategy, degrees, options }: Variant): string =>
  variantName({ strategy: strategy.name, degrees, options });

/** Whether the strategy takes the problem; if not, its reason is noted once. */
function isAccepted({ strategy, degrees, options }: Variant, problem: Problem, refused: RefusedVariant[]): boolean {
  try {
    strategy.compile(problem, degrees, options);
    return true;
  } catch (error) {
    if (!(error instanceof InputError)) throw error;
    const { name } = strategy;
    const reason = error.message;
    if (!refused.some((known) => known.strategy === name && known.reason === reason))
      refused.push({ strategy: name, reason });
    return false;
  }
}
