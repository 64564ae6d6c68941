import { type LayerStrategy, type LongestDegrees, longestDegrees, longestStep, type ModelProblem } from "@hsap/model";
import type { Degrees } from "@hsap/schedule";
import { InputError } from "@hsap/workload";
import { KnownStep } from "./known-steps.ts";
import { stepLowerBoundBytes } from "./lower-bound.ts";

/** Degrees of a search: given ones, the strategy's own choice for every length, or whichever fit most. */
export type SearchedDegrees = Degrees | "own" | "most";

export interface LongestFittingOptions {
  readonly degrees: SearchedDegrees;
  /** Only lengths that give every rank a multiple of this many tokens are looked at. */
  readonly grainOfRank: number;
  /** With `most`: degrees that may well be those that fit most. They are tried first, which changes nothing of what is found. */
  readonly likely?: Degrees | undefined;
}

/**
 * The longest step that fits into the device, by its counted memory; nothing is simulated. `problemAt` is the problem of so many tokens.
 *
 * @throws InputError if the strategy refuses the problem or the degrees, or has none for `most`.
 */
export function longestFitting(
  problemAt: (tokens: number) => ModelProblem,
  strategy: LayerStrategy,
  { degrees, grainOfRank, likely }: LongestFittingOptions,
): LongestDegrees {
  const { cluster } = problemAt(1);
  const grain = grainOfRank * cluster.ranks;
  const limitBytes = (cluster.device.memoryGiB ?? 0) * 2 ** 30;
  const about = mostByBound(problemAt, limitBytes, grain);
  const steps = new StepsByTokens(problemAt, strategy);
  if (degrees === "most") {
    const candidates = strategy.candidateDegrees(problemAt(about));
    if (candidates.length === 0)
      throw new InputError(`invalid degrees: most (${strategy.name} has none for this model and number of ranks)`);
    const begin = candidates.findIndex((candidate) => JSON.stringify(candidate) === JSON.stringify(likely));
    return longestDegrees(candidates, steps, { limitBytes, grain, about, begin: Math.max(0, begin) });
  }
  const degreesAt = (tokens: number) => (degrees === "own" ? strategy.defaultDegrees(problemAt(tokens)) : degrees);
  const found = longestStep((tokens) => steps.memory(tokens, degreesAt(tokens)), { limitBytes, grain, about });
  return { degrees: degreesAt(Math.max(found.tokens, grain)), ...found };
}

/** Tokens that cannot fit, as what they need at least does not: the end of a straight line. */
function mostByBound(problemAt: (tokens: number) => ModelProblem, limitBytes: number, grain: number): number {
  const [one, two] = [grain, 2 * grain].map((tokens) => stepLowerBoundBytes(problemAt(tokens), {}));
  return Math.max(grain, Math.ceil(grain + ((limitBytes - one) * grain) / (two - one)));
}

/** Steps by their tokens and degrees. The one asked about last is known: of a step that does not exceed the device all is asked next. */
class StepsByTokens {
  #last: { readonly key: string; readonly problem: ModelProblem; readonly step: KnownStep } | undefined;

  constructor(
    private readonly problemAt: (tokens: number) => ModelProblem,
    private readonly strategy: LayerStrategy,
  ) {}

  memory(tokens: number, degrees: Degrees) {
    const { problem, step } = this.#at(tokens, degrees);
    return step.memory(problem);
  }

  exceeds(tokens: number, degrees: Degrees, limitBytes: number): boolean {
    const { problem, step } = this.#at(tokens, degrees);
    return step.exceeds(problem, limitBytes);
  }

  #at(tokens: number, degrees: Degrees) {
    const key = JSON.stringify([tokens, degrees]);
    if (this.#last?.key === key) return this.#last;
    const problem = this.problemAt(tokens);
    this.#last = { key, problem, step: new KnownStep(problem, this.strategy, degrees, {}) };
    return this.#last;
  }
}
