import type { Problem } from "@hsap/schedule";
import { predictPlan } from "./cost/predict.ts";
import type { Prediction } from "./cost/walk.ts";
import { gridsOfPlace, gridsToWeigh, tokenBytesOf } from "./place/arrangements.ts";
import { gridsToBalance } from "./place/balance.ts";
import type { Grid } from "./place/grid.ts";
import type { Part, Plan, Planner } from "./plan.ts";

/** A plan and what it is predicted to take. */
export interface Predicted {
  readonly plan: Plan;
  readonly prediction: Prediction;
}

/**
 * A plan with its prediction; keys cross to other nodes a round after those inside nodes have travelled if that is predicted to take
 * less: what is there soon is computed with while they are on their way, for the price of one more call.
 */
export function predicted(problem: Problem, planner: Planner, plan: Plan): Predicted {
  const given = { plan, prediction: predictPlan(problem, plan) };
  const { us, computing } = given.prediction;
  if (planner.crossingRounds > 1 || us < heldUp * computing.max) return given;
  const later = plan.map((part) => (crossesBesideHops(part) ? planner.crossingLater(part) : part));
  if (later.every((part, i) => part === plan[i])) return given;
  const prediction = predictPlan(problem, later);
  return prediction.us < given.prediction.us ? { plan: later, prediction } : given;
}

/** A plan that takes so many times what its busiest rank computes is held up by transfers. */
const heldUp = 1.02;

/** Whether keys inside nodes travel in the same round as the first that cross, which are there much later. */
const crossesBesideHops = ({ routing: { within, between }, placement }: Part): boolean =>
  within.length > 0 && between.length > 0 && !placement.crossesLater && between.relay.every((hop) => hop < 0);

/** The plan with its tiles computed by the owners of their keys, or in two dimensions, whatever that costs. */
export function planPlaced(problem: Problem, planner: Planner, plan: Plan, place: "keys" | "grid"): Plan {
  return plan.map((part) => {
    const { hierarchy, sharding } = part;
    const grids = gridsOfPlace(problem, hierarchy, sharding, place);
    return grids.length === 0 ? part : planner.partOf(hierarchy, sharding, grids, true);
  });
}

/**
 * The plan with tiles in two dimensions, if that is predicted to take less: in groups of several sizes, queries ahead of keys or beside
 * them. It is looked at only where it can pay: where transfers hold up the plan, its units are nodes, and so many of them
 * share documents that queries are worth their bytes.
 */
export function weighPlaces(problem: Problem, planner: Planner, given: Predicted): Predicted | undefined {
  if (given.prediction.us < worthwhile * given.prediction.computing.mean) return undefined;
  let best: Predicted | undefined;
  // Only a first part can have units that are nodes.
  const [part, ...others] = given.plan;
  if (!canCarryLess(problem, part)) return undefined;
  const { hierarchy, sharding } = part;
  for (const grids of gridsToWeigh(problem, part)) {
    for (const crossesLater of [false, true]) {
      const plan = [planner.partOf(hierarchy, sharding, grids, crossesLater), ...others];
      const prediction = predictPlan(problem, plan);
      if (prediction.us < (best ?? given).prediction.us) best = { plan, prediction };
    }
  }
  return best;
}

/**
 * The plan of tokens that stay where they lie, with tiles taken over by units that have less to compute, if that is predicted to take
 * less.
 */
export function weighBalancing(problem: Problem, planner: Planner, given: Predicted): Predicted {
  const [{ hierarchy, sharding }] = given.plan;
  let best: { readonly predicted: Predicted; readonly grids: readonly Grid[] } = { predicted: given, grids: [] };
  const weigh = (grids: readonly Grid[], crossesLater: boolean) => {
    if (grids.length === 0) return;
    const plan = [planner.partOf(hierarchy, sharding, grids, crossesLater)];
    const prediction = predictPlan(problem, plan);
    if (prediction.us < best.predicted.prediction.us) best = { predicted: { plan, prediction }, grids };
  };
  for (const [groupSize, mostMembers] of balancingGroups) {
    weigh(gridsToBalance(problem, hierarchy, sharding, groupSize, mostMembers), false);
  }
  weigh(best.grids, true);
  return best.predicted;
}

/** Pairs even out one document; others, and third units, even out several, for more bytes. */
const balancingGroups = [
  [2, 2],
  [4, 4],
  [2, 8],
] as const;

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
