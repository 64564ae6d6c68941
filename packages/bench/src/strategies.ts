import { baselines, megatronAttention } from "@hsap/baselines";
import { hsap } from "@hsap/compiler";
import { type Degrees, type Problem, ranksOf, type Strategy, type StrategyOptions } from "@hsap/schedule";
import { InputError } from "@hsap/workload";
import { computeFloor } from "./experiment/compute-floor.ts";

/** Every strategy that can be named, in the order that tables show them. */
export const strategies: readonly Strategy[] = [...baselines, hsap];

/** What can be named and run besides: part of a system for whole layers, and the yardstick of measured steps. */
const onlyNamed: readonly Strategy[] = [megatronAttention, computeFloor];

/**
 * The strategy of that name.
 *
 * @throws InputError if there is none.
 */
export function strategyNamed(name: string): Strategy {
  const strategy = [...strategies, ...onlyNamed].find((candidate) => candidate.name === name);
  if (strategy) return strategy;
  if (name === "megatron") {
    throw new InputError(
      "unsupported strategy: megatron (it splits whole layers: see hsap model and hsap train; its attention alone is megatron-attention)",
    );
  }
  throw new InputError(`unknown strategy: ${name} (known: ${strategies.map((known) => known.name).join(", ")})`);
}

/**
 * The degrees that the user gave, in the strategy's order; 1 for those left out.
 *
 * @throws InputError if the strategy has no such degree, or they do not multiply to the problem's ranks.
 */
export function settledDegrees(strategy: Strategy, problem: Problem, given: Degrees): Degrees {
  const names = strategy.degreeNames;
  for (const [name, value] of Object.entries(given)) {
    if (!names.includes(name)) {
      throw new InputError(`unknown degree: ${name} (${strategy.name} takes ${names.join(", ") || "none"})`);
    }
    if (!Number.isInteger(value) || value < 1) {
      throw new InputError(`invalid degree: ${name}=${value} (must be a whole number of at least 1)`);
    }
  }
  const degrees = Object.fromEntries(names.map((name) => [name, given[name] ?? 1]));
  const product = Object.values(degrees).reduce((left, right) => left * right, 1);
  const ranks = ranksOf(problem);
  if (product === ranks || (names.length === 0 && Object.keys(given).length === 0)) return degrees;
  throw new InputError(`invalid degrees: ${formatDegrees(degrees)} (multiply to ${product}, must be ${ranks} ranks)`);
}

/**
 * Returns the options if the strategy takes each of them.
 *
 * @throws InputError otherwise.
 */
export function checkedOptions({ name, options: known = {} }: Strategy, options: StrategyOptions): StrategyOptions {
  for (const option of Object.keys(options)) {
    if (Object.hasOwn(known, option)) continue;
    throw new InputError(`unknown option: ${option} (${name} takes ${Object.keys(known).join(", ") || "none"})`);
  }
  return options;
}

/** `ulysses=2,sap=4`; `-` where a strategy has none. */
export function formatDegrees(degrees: Degrees): string {
  return (
    Object.entries(degrees)
      .map(([name, value]) => `${name}=${value}`)
      .join(",") || "-"
  );
}
