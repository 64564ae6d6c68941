import type { Degrees, StrategyOptions } from "@hsap/schedule";
import { InputError } from "@hsap/workload";
import type { LayerStrategy } from "./layer-strategy.ts";
import { memoryOf, type RankMemory } from "./memory.ts";
import type { ModelProblem } from "./model-problem.ts";

/** The most tokens that a step may have, and how close that is to what the device holds. */
export interface LongestStep {
  /** A multiple of the grain; 0 if not even one grain fits. */
  readonly tokens: number;
  /** Memory at `tokens`, of the rank that needs most; of nothing if `tokens` is 0. */
  readonly memory?: RankMemory;
  /** Memory one grain further, which does not fit; left out if the search ended at `atMost`. */
  readonly next?: RankMemory;
}

export interface LongestStepOptions {
  /** Bytes of one device. */
  readonly limitBytes: number;
  /** Only multiples of this many tokens are looked at. */
  readonly grain: number;
  /** The search ends here even if more would fit; 2^28 tokens where left out. */
  readonly atMost?: number;
  /** Tokens at which the search begins, one grain where left out: a guess, which if it is wrong costs nothing but time. */
  readonly about?: number;
}

/**
 * Looks for the most tokens whose memory fits: steps of a factor of eight, smaller at first beside a guess, until one fits and one does not, then
 * bisection, guided by a straight line between the two ends, as memory is nearly linear in the tokens. What is found fits and one grain more does not, whatever the
 * function; where memory does not grow with every grain there may be a longer step that fits too.
 *
 * @throws InputError if the grain is not a whole number of at least 1, or more than `atMost`; and as `memoryAt` does.
 */
export function longestStep(
  memoryAt: (tokens: number) => RankMemory,
  { limitBytes, grain, atMost = 2 ** 28, about = grain }: LongestStepOptions,
): LongestStep {
  if (!Number.isInteger(grain) || grain < 1 || grain > atMost)
    throw new InputError(`invalid grain: ${grain} (must be a whole number from 1 to ${atMost})`);
  const most = Math.floor(atMost / grain);
  const at = (grains: number): End => ({ grains, memory: memoryAt(grains * grain) });
  const fits = ({ memory }: End) => memory.total <= limitBytes;

  const first = Math.min(most, Math.max(1, Math.floor(about / grain)));
  let [low, high] = [undefined as End | undefined, undefined as End | undefined];
  for (let [next, reach] = [first, first === 1 ? 8 : 1.125]; low === undefined || high === undefined; reach = 8) {
    const end = at(next);
    if (fits(end)) low = end;
    else high = end;
    if (low?.grains === most) return { tokens: most * grain, memory: low.memory };
    if (high?.grains === 1) return { tokens: 0, next: high.memory };
    next = fits(end) ? Math.min(most, Math.ceil(reach * next)) : Math.max(1, Math.floor(next / reach));
  }
  for (let halve = false; high.grains - low.grains > 1; ) {
    const width = high.grains - low.grains;
    const guess = at(between(low, high, halve ? low.grains + width / 2 : lineCrosses(low, high, limitBytes)));
    if (fits(guess)) low = guess;
    else high = guess;
    // A straight line is a bad guide where memory bends: halving after each poor guess bounds the search.
    halve = !halve && high.grains - low.grains > width / 2;
  }
  return { tokens: low.grains * grain, memory: low.memory, next: high.memory };
}

interface End {
  readonly grains: number;
  readonly memory: RankMemory;
}

const between = (low: End, high: End, guess: number): number =>
  Math.min(high.grains - 1, Math.max(low.grains + 1, Math.floor(guess)));

const lineCrosses = (low: End, high: End, limitBytes: number): number =>
  low.grains + ((limitBytes - low.memory.total) / (high.memory.total - low.memory.total)) * (high.grains - low.grains);

/** Degrees, and the longest step with them. */
export interface LongestDegrees extends LongestStep {
  readonly degrees: Degrees;
}

/**
 * The degrees, of some, with which the longest step has the most tokens; the first of equals. Degrees that do not fit one grain more than the
 * best so far are not looked at further.
 *
 * @throws InputError if there are no degrees; and as `longestStep` does.
 */
export function longestDegrees(
  candidates: readonly Degrees[],
  memoryAt: (tokens: number, degrees: Degrees) => RankMemory,
  options: LongestStepOptions,
): LongestDegrees {
  let best: LongestDegrees | undefined;
  for (const degrees of candidates) {
    const further = best === undefined ? 0 : best.tokens + options.grain;
    if (best !== undefined && memoryAt(further, degrees).total > options.limitBytes) continue;
    const about = best === undefined ? options.about : further;
    const found = longestStep((tokens) => memoryAt(tokens, degrees), { ...options, ...(about && { about }) });
    if (best === undefined || found.tokens > best.tokens) best = { degrees, ...found };
  }
  if (best === undefined) throw new InputError("invalid degrees: none are given");
  return best;
}

/** What a step of one batch needs. */
export interface StepMemory {
  readonly degrees: Degrees;
  /** Of the rank that needs most. */
  readonly memory: RankMemory;
}

/**
 * Compiles a step and counts its memory, without simulating it; `degrees` are the strategy's choice where left out.
 *
 * @throws InputError if the strategy refuses the problem or the degrees.
 */
export function stepMemory(
  problem: ModelProblem,
  strategy: LayerStrategy,
  { degrees = strategy.defaultDegrees(problem), options }: { degrees?: Degrees; options?: StrategyOptions } = {},
): StepMemory {
  const schedules = strategy.compile(problem, degrees, options);
  return {
    degrees,
    memory: memoryOf(problem, schedules).reduce((most, rank) => (rank.total > most.total ? rank : most)),
  };
}
