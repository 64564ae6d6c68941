import type { Problem } from "./problem.ts";
import type { Degrees, Schedule } from "./schedule.ts";

/** Strategy options by name, as given by `--option name=value` (each strategy lists its own). */
export type StrategyOptions = Readonly<Record<string, string | number | boolean>>;

/** One option of a strategy. The default gives the right answer; `published` is what the published system does, if that differs. */
export interface StrategyOption {
  readonly summary: string;
  readonly default: string | number | boolean;
  readonly published?: string | number | boolean;
}

/** The options that make a strategy do what the published system does with packs, right or wrong; none where it does so anyway. */
export const publishedOptions = ({ options = {} }: Pick<Strategy, "options">): StrategyOptions =>
  Object.fromEntries(
    Object.entries(options).flatMap(([name, { published }]) => (published === undefined ? [] : [[name, published]])),
  );

/** A way to spread attention over ranks: a pure function from a problem to a schedule. Making a new one is one file. */
export interface Strategy {
  readonly name: string;
  /** One sentence: what it does. */
  readonly summary: string;
  /** Where it was published, or the project that made it known. */
  readonly citation: string;
  /** Names that `degrees` must have, innermost first. */
  readonly degreeNames: readonly string[];
  /** Degrees for a problem when the user gives none; they multiply to the world size. */
  defaultDegrees(problem: Problem): Degrees;
  /** Other degrees worth trying for this problem, the default among them; none if the strategy cannot run it at all. */
  candidateDegrees(problem: Problem): readonly Degrees[];
  /** Options it takes, with their meaning and default. */
  readonly options?: Readonly<Record<string, StrategyOption>>;
  /**
   * About how many operands (entries of `OpTable.operands`) the schedule will have, so that one too large to be made can be
   * left out beforehand. Only strategies that cut documents or the pack into very many pieces have it.
   */
  estimatedOperands?(problem: Problem, options?: StrategyOptions): number;
  /** Compiles. Throws an InputError, in the system's own terms, for a problem or degrees that it does not support. */
  compile(problem: Problem, degrees: Degrees, options?: StrategyOptions): Schedule;
}
