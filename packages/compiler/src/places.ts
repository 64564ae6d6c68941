import type { Problem } from "@hsap/schedule";
import { type Prediction, predictPlan } from "./cost/predict.ts";
import { gridsFor, type Place, tokenBytesOf } from "./place/arrangements.ts";
import type { Part, Plan, Planner } from "./plan.ts";

/** A plan and what it is predicted to take. */
export interface Predicted {
  readonly plan: Plan;
  readonly prediction: Prediction;
}

/** The plan with its tiles computed where `place` says, whatever it costs. */
export function planPlaced(problem: Problem, planner: Planner, plan: Plan, place: Exclude<Place, "auto">): Plan {
  return plan.map((part) => withGrids(problem, planner, part, place));
}

/**
 * The plan with tiles in two dimensions, if that is predicted to take less. It is looked at only where it can: where transfers between
 * nodes hold up a part whose units are nodes, and where so many units share documents that queries are worth their bytes.
 */
export function weighPlaces(problem: Problem, planner: Planner, given: Predicted): Predicted | undefined {
  if (given.prediction.us < worthwhile * given.prediction.computing.mean) return undefined;
  const parts = given.plan.map((part) =>
    canCarryLess(problem, part) ? withGrids(problem, planner, part, "auto") : part,
  );
  if (parts.every((part, i) => part === given.plan[i])) return undefined;
  const prediction = predictPlan(problem, parts);
  return prediction.us < given.prediction.us ? { plan: parts, prediction } : undefined;
}

/** Transfers that cost less than this share of what ranks compute are not worth a second look. */
const worthwhile = 1.015;

/**
 * In groups of two a unit receives the queries of one other unit and half of the keys that it would receive alone, which are those of
 * all other units at most.
 */
function canCarryLess(problem: Problem, { hierarchy }: Part): boolean {
  const { units, unitBegin } = hierarchy;
  if (unitBegin.length - 1 < units) return false;
  const { key, query } = tokenBytesOf(problem, hierarchy);
  return (units / 2) * key > query;
}

function withGrids(problem: Problem, planner: Planner, part: Part, place: Place): Part {
  const grids = gridsFor(problem, part.hierarchy, part.sharding, place);
  return grids.length === 0 ? part : planner.partOf(part.hierarchy, part.sharding, grids);
}
