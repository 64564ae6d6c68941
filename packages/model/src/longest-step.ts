import type { Degrees } from "@hsap/schedule";
import { InputError } from "@hsap/workload";
import type { RankMemory } from "./memory.ts";

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
 * Looks for the most tokens whose memory fits. Memory is nearly linear in the tokens, so each look is where a straight line through those before
 * (the first through what no token needs: weights, gradients and optimiser) leaves the device, or one grain beside a look that fits. Where
 * that leads nowhere, steps beside the last look grow by a factor of eight until one fits and one does not, and every other look halves what
 * is between them. What is found fits and one grain more does not, whatever the function; where memory does not grow with every grain there may be a
 * longer step that fits too.
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
  const at = (grains: number): Look => {
    const memory = memoryAt(grains * grain);
    return { grains, memory, bytes: memory.total };
  };
  const fits = ({ bytes }: Look) => bytes <= limitBytes;

  let look = at(Math.min(most, Math.max(1, Math.floor(about / grain))));
  let before: End = { grains: 0, bytes: look.memory.weights + look.memory.gradients + look.memory.optimiser };
  let [low, high] = [undefined as Look | undefined, undefined as Look | undefined];
  for (let reach = 1; ; ) {
    if (fits(look)) low = look;
    else high = look;
    if (low?.grains === most) return { tokens: most * grain, memory: low.memory };
    if (high?.grains === 1) return { tokens: 0, next: high.memory };
    if (low !== undefined && high !== undefined) break;
    const guess = Math.floor(lineCrosses(before, look, limitBytes));
    const beside = look.grains + (low ? reach : -reach);
    const isAhead = Number.isFinite(guess) && (low ? guess > beside : guess < beside);
    const next = Math.min(most, Math.max(1, isAhead ? guess : beside));
    [before, look, reach] = [look, at(next), isAhead ? reach : 8 * reach];
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
  readonly bytes: number;
}

interface Look extends End {
  readonly memory: RankMemory;
}

const between = (low: End, high: End, guess: number): number =>
  Math.min(high.grains - 1, Math.max(low.grains + 1, Math.floor(guess)));

const lineCrosses = (one: End, other: End, limitBytes: number): number =>
  one.grains + ((limitBytes - one.bytes) / (other.bytes - one.bytes)) * (other.grains - one.grains);

/** Degrees, and the longest step with them. */
export interface LongestDegrees extends LongestStep {
  readonly degrees: Degrees;
}

/** What a search asks of steps with any degrees. */
export interface StepsByDegrees {
  memory(tokens: number, degrees: Degrees): RankMemory;
  /** Whether that is more than so many bytes: may be known sooner than how much it is. */
  exceeds(tokens: number, degrees: Degrees, limitBytes: number): boolean;
}

export interface LongestDegreesOptions extends LongestStepOptions {
  /** The position of the degrees to begin with, the first where left out: a guess, which changes nothing of what is found. */
  readonly begin?: number;
}

/**
 * The degrees, of some, with which the longest step has the most tokens; the first of equals, and the first of all where nothing fits. Of
 * degrees that do not fit more than the best so far nothing else is asked.
 *
 * @throws InputError if there are no degrees; and as `longestStep` does.
 */
export function longestDegrees(
  candidates: readonly Degrees[],
  steps: StepsByDegrees,
  { begin = 0, ...options }: LongestDegreesOptions,
): LongestDegrees {
  const { grain, limitBytes, atMost = 2 ** 28 } = options;
  if (candidates.length === 0) throw new InputError("invalid degrees: none are given");
  const search = (index: number, about = options.about): LongestStep =>
    longestStep((tokens) => steps.memory(tokens, candidates[index]), {
      ...options,
      ...(about !== undefined && { about }),
    });
  let best = { index: begin, found: search(begin) };
  for (const index of candidates.keys()) {
    if (index === begin) continue;
    // Of equals an earlier one is taken, a later one is not.
    const wanted = index < best.index ? Math.max(grain, best.found.tokens) : best.found.tokens + grain;
    if (wanted > atMost || steps.exceeds(wanted, candidates[index], limitBytes)) continue;
    const found = search(index, wanted);
    if (found.tokens >= wanted) best = { index, found };
  }
  if (best.found.tokens === 0 && best.index > 0) best = { index: 0, found: search(0, grain) };
  return { degrees: candidates[best.index], ...best.found };
}
