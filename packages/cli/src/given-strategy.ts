import { strategyNamed } from "@hsap/bench";
import { publishedOptions, type Strategy, type StrategyOptions } from "@hsap/schedule";
import { InputError } from "@hsap/workload";
import { parseStrategyOptions } from "./option-values.ts";
import type { ProblemOptions } from "./problem-options.ts";

/** A strategy with the options that the command line gives it. */
export interface GivenStrategy {
  readonly strategy: Strategy;
  readonly options: StrategyOptions;
}

/**
 * The named strategy, with `--option`s and, for `--faithful`, those of the published system; an `--option` goes before.
 *
 * @throws InputError if there is no such strategy, or `--faithful` would change nothing.
 */
export function givenStrategy(name: string, { option = [], faithful }: ProblemOptions): GivenStrategy {
  const strategy = strategyNamed(name);
  const given = parseStrategyOptions(option);
  if (!faithful) return { strategy, options: given };
  const published = publishedOptions(strategy);
  if (Object.keys(published).length === 0) {
    throw new InputError(`invalid faithful: ${name} (does by default what was published)`);
  }
  return { strategy, options: { ...published, ...given } };
}
