import type { Problem } from "./problem.ts";
import type { Degrees, Schedule } from "./schedule.ts";

/** Strategy options by name, as given by `--option name=value` (each strategy lists its own). */
export type StrategyOptions = Readonly<Record<string, string | number | boolean>>;

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
  readonly options?: Readonly<
    Record<string, { readonly summary: string; readonly default: string | number | boolean }>
  >;
  /** Compiles. Throws an InputError, in the system's own terms, for a problem or degrees that it does not support. */
  compile(problem: Problem, degrees: Degrees, options?: StrategyOptions): Schedule;
}
