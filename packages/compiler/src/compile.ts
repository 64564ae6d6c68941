import { checkProblem, type Degrees, type Problem, ranksOf, type Schedule, type StrategyOptions } from "@hsap/schedule";
import { InputError } from "@hsap/workload";
import { choosePlan } from "./degrees.ts";
import { hierarchyOf } from "./hierarchy.ts";
import { lowerToPrograms, type Programs, scheduleOf } from "./lower/lower.ts";
import { type Place, places } from "./place/arrangements.ts";
import { planPlaced, predicted, weighBalancing, weighPlaces } from "./places.ts";
import { type Plan, Planner } from "./plan.ts";
import { type ShardingKind, shard, shardings } from "./shard/shard.ts";

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
  const { kind, splitAbove, rounds, place } = checkedOptions(options);
  const hierarchy = hierarchyOf(checkProblem(problem), degrees);
  const planner = new Planner(problem, rounds);
  if (kind === "contiguous") {
    const plan = [planner.partOf(hierarchy, shard(problem, hierarchy, kind))];
    if (place !== "auto") return placed(problem, planner, plan, place);
    return weighBalancing(problem, planner, predicted(problem, planner, plan)).plan;
  }
  if (splitAbove !== undefined) return placed(problem, planner, planner.plan(hierarchy, splitAbove), place);
  const { best, plan } = choosePlan(problem, degrees, place === "auto" ? "auto" : "queries");
  if (place === "auto" && rounds === 1) return plan;
  const ofRounds = rounds === 1 ? plan : planner.plan(hierarchy, best.splitAbove);
  return placed(problem, planner, ofRounds, place === "auto" ? best.place : place);
}

/** The plan with its tiles computed where `place` says. */
function placed(problem: Problem, planner: Planner, plan: Plan, place: Place): Plan {
  if (place === "keys" || place === "grid") return planPlaced(problem, planner, plan, place);
  const given = predicted(problem, planner, plan);
  return (place === "auto" ? weighPlaces(problem, planner, given)?.plan : undefined) ?? given.plan;
}

interface CheckedOptions {
  readonly kind: ShardingKind;
  readonly rounds: number;
  readonly place: Place;
  /** Left out where the compiler chooses. */
  readonly splitAbove?: number;
}

function checkedOptions(options: StrategyOptions): CheckedOptions {
  for (const name of Object.keys(options)) {
    if (!["shard", "split", "rounds", "place"].includes(name)) {
      throw new InputError(`unknown option: ${name} (hsap takes shard, split, rounds and place)`);
    }
  }
  const { shard: given = "balanced", split = "auto", rounds = 1, place: where = "auto" } = options;
  const kind = shardings.find((sharding) => sharding === given);
  if (kind === undefined) throw new InputError(`invalid shard: ${given} (must be ${shardings.join(" or ")})`);
  if (typeof rounds !== "number" || !Number.isInteger(rounds) || rounds < 1) {
    throw new InputError(`invalid rounds: ${rounds} (must be a whole number of at least 1)`);
  }
  const place = places.find((one) => one === where);
  if (place === undefined) throw new InputError(`invalid place: ${where} (must be ${places.join(", ")})`);
  if (split === "auto") return { kind, rounds, place };
  const splitAbove = split === "nodes" ? Number.POSITIVE_INFINITY : split === "all" ? 0 : Number(split);
  if (!(splitAbove >= 0)) {
    throw new InputError(`invalid split: ${split} (must be auto, nodes, all, or a number of ranks of at least 0)`);
  }
  return { kind, rounds, splitAbove, place };
}
