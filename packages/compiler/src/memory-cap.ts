import { type Degrees, type Problem, peakBytesOf, type Schedule, type StrategyOptions } from "@hsap/schedule";
import { InputError } from "@hsap/workload";
import { compile } from "./compile.ts";
import { choosePlan, everyWay } from "./degrees.ts";

/** In how many rounds keys may cross to other nodes: each needs receive buffers only for its share of them. */
const roundsToTry = [1, 2, 4, 8, 16];

/**
 * As `compile`, with no rank's memory above a cap. The ways to divide heads and sequence are tried in the order of their predicted
 * times, each in ever more rounds, so that receive buffers get smaller; the first that fits is taken.
 *
 * @param degrees those to keep to; all that are worth it are tried if left out.
 * @throws InputError if nothing fits, with the least cap that would do; or as `compile`.
 */
export function compileUnderCap(
  problem: Problem,
  degrees: Degrees | undefined,
  options: StrategyOptions,
  capBytes: number,
): Schedule {
  const { best } = choosePlan(problem, degrees);
  let least = { bytes: Number.POSITIVE_INFINITY, rounds: 1, degrees: best.degrees };
  for (const { degrees: of, splitAbove, place } of [best, ...everyWay(problem, degrees)]) {
    const split = Number.isFinite(splitAbove) ? splitAbove : "nodes";
    for (const rounds of roundsToTry) {
      const schedule = compile(problem, of, { split, place, ...options, rounds });
      const bytes = peakBytesOf(schedule).reduce((a, b) => Math.max(a, b), 0);
      if (bytes <= capBytes) return schedule;
      if (bytes < least.bytes) least = { bytes, rounds, degrees: of };
    }
  }
  const way = `ulysses=${least.degrees.ulysses}, keys in ${least.rounds} round${least.rounds === 1 ? "" : "s"}`;
  throw new InputError(`invalid memory-cap: ${capBytes} bytes (the least that fits is ${least.bytes}, with ${way})`);
}
