import { checkProblem, type Degrees, type Problem, ranksOf, type Schedule, type StrategyOptions } from "@hsap/schedule";
import { InputError } from "@hsap/workload";
import { hierarchyOf } from "./hierarchy.ts";
import { lowerToPrograms, type Plan, type Programs, scheduleOf } from "./lower.ts";
import { place } from "./place.ts";
import { route } from "./route.ts";
import { type ShardingKind, shard, shardings } from "./shard.ts";
import { stage } from "./stage.ts";
import { tile } from "./tile.ts";

/**
 * Compiles the programs of all ranks.
 *
 * @throws InputError if the problem, a degree or an option is invalid.
 */
export function compile(problem: Problem, degrees: Degrees, options: StrategyOptions = {}): Schedule {
  return scheduleOf(problem, degrees, compilePrograms(problem, degrees, options));
}

/**
 * Compiles the program of one rank: a schedule in which the other programs are empty, as a rank needs it that compiles just
 * in time. Its ops are those that `compile` gives the rank, over a table of blocks of its own.
 *
 * @throws InputError if there is no such rank, or the problem, a degree or an option is invalid.
 */
export function compileRank(problem: Problem, degrees: Degrees, rank: number, options: StrategyOptions = {}): Schedule {
  if (!(Number.isInteger(rank) && rank >= 0 && rank < ranksOf(problem))) {
    throw new InputError(`invalid rank: ${rank} (must be a whole number below ${ranksOf(problem)})`);
  }
  return scheduleOf(problem, degrees, compilePrograms(problem, degrees, options, rank));
}

/** The columns of `compile`, or of `compileRank` for one rank. */
export function compilePrograms(problem: Problem, degrees: Degrees, options: StrategyOptions, rank?: number): Programs {
  return lowerToPrograms(problem, planOf(problem, degrees, options), rank);
}

/** Passes 1 to 6: what all ranks have to agree on. Equal problems give equal plans, on every rank and machine. */
export function planOf(problem: Problem, degrees: Degrees, options: StrategyOptions = {}): Plan {
  const kind = shardingKind(options);
  const hierarchy = hierarchyOf(checkProblem(problem), degrees);
  const sharding = shard(problem, hierarchy, kind);
  const placement = place(sharding, tile(problem, sharding));
  const routing = route(sharding, placement, hierarchy);
  const messages = stage(routing, hierarchy.units, problem.pass);
  return { hierarchy, sharding, messages };
}

function shardingKind(options: StrategyOptions): ShardingKind {
  for (const name of Object.keys(options)) {
    if (name !== "shard") throw new InputError(`unknown option: ${name} (hsap takes shard)`);
  }
  const kind = options.shard ?? "balanced";
  const known = shardings.find((sharding) => sharding === kind);
  if (known === undefined) throw new InputError(`invalid shard: ${kind} (must be ${shardings.join(" or ")})`);
  return known;
}
