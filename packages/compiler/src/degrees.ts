import { nodeOf, ranksPerNode } from "@hsap/cluster";
import { type Degrees, type Problem, ranksOf } from "@hsap/schedule";
import { allToAllTimes, laneTokenBytes } from "./cost/transfer-time.ts";
import type { Prediction } from "./cost/walk.ts";
import { ulyssesDegrees } from "./hierarchy.ts";
import type { Place } from "./place/arrangements.ts";
import { predicted, weighPlaces } from "./places.ts";
import { type Plan, Planner } from "./plan.ts";
import { hasFewKvHeads, isBetween, isDividedAlike, type Way, waysOf } from "./ways.ts";

/** Every pair of degrees that is possible for the problem: heads split inside units, the sequence between them. */
export function candidateDegrees(problem: Problem): Degrees[] {
  return ulyssesDegrees(problem).map((ulysses) => degreesOf(problem, ulysses));
}

/** The degrees with the least predicted time when balanced; see `choosePlan`. */
export const chooseDegrees = (problem: Problem): Degrees => choosePlan(problem).best.degrees;

/** One way to divide heads and sequence, and what it is predicted to take. */
export interface Considered {
  readonly degrees: Degrees;
  /** Heads are split of documents heavier than so many ranks' shares, and of those that several nodes hold; see `HeadSplitter`. */
  readonly splitAbove: number;
  /** Where tiles are computed: by the owners of their queries, or some in two dimensions. */
  readonly place: "queries" | "grid";
  readonly prediction: Prediction;
}

export interface Choice {
  readonly best: Considered;
  readonly plan: Plan;
  /** All that were weighed, the best among them, in the order in which they were. */
  readonly considered: readonly Considered[];
}

/**
 * Weighs ways to divide heads and sequence by what their plans are predicted to take, and keeps the plan that takes least.
 * Ulysses alone, sequence parallelism alone and both together are points of the space. Ways are planned in the order of what they
 * may take, and those not at all whose bounds say that they cannot win. Of ways that take about as long, that with the fewest bytes is taken.
 *
 * @param degrees the degrees to keep to; all that are worth it are tried if left out.
 * @param place `auto` to weigh as well where tiles are computed; otherwise that is by the owners of their queries.
 */
export function choosePlan(problem: Problem, degrees?: Degrees, place: Place = "auto"): Choice {
  if (lastChoice?.place === place && isSame(lastChoice, problem, degrees)) return lastChoice.choice;
  const planner = new Planner(problem);
  let chosen: Weighed | undefined;
  const all: Weighed[] = [];
  const planned: Way[] = [];
  for (const way of waysOf(planner, degrees)) {
    if (chosen !== undefined && !isWorthALook(problem, way, chosen, planned)) continue;
    planned.push(way);
    for (const weighed of weigh(planner, way, place)) {
      all.push(weighed);
      if (chosen === undefined || weighed.of.prediction.us < chosen.of.prediction.us) chosen = weighed;
    }
  }
  if (chosen === undefined) throw new Error("no degrees: 1 is always possible");
  const { of: best, plan } = lightest(all, chosen);
  const choice = { best, plan, considered: all.map(({ of }) => of) };
  lastChoice = { problem, cuSeqlens: problem.batch.cuSeqlens.slice(), degrees, place, choice };
  return choice;
}

/** Of the ways that are predicted to take about as long as the fastest one, that which moves the fewest bytes: it leaves less to chance. */
function lightest(all: readonly Weighed[], fastest: Weighed): Weighed {
  const withinUs = alike * fastest.of.prediction.us;
  return all.reduce(
    (best, way) =>
      way.of.prediction.us <= withinUs && way.of.prediction.bytes < best.of.prediction.bytes ? way : best,
    fastest,
  );
}

/** Predictions are no better than this. */
const alike = 1.01;

/** All ways, also those that cannot be the fastest, the fastest first: what to take where something else than time decides. */
export function everyWay(problem: Problem, degrees: Degrees | undefined): Considered[] {
  const planner = new Planner(problem);
  const considered = waysOf(planner, degrees).flatMap((way) => weigh(planner, way, "auto").map(({ of }) => of));
  return considered.sort((a, b) => a.prediction.us - b.prediction.us);
}

interface Weighed {
  readonly of: Considered;
  readonly way: Way;
  readonly plan: Plan;
}

/** A plan whose tiles are all computed by the owners of their queries, and another if some in two dimensions may take less. */
function weigh(planner: Planner, way: Way, place: Place): Weighed[] {
  const { problem } = planner;
  const { hierarchy, splitAbove } = way;
  const degrees = degreesOf(problem, hierarchy.ulysses);
  const { plan, prediction } = predicted(problem, planner, planner.plan(hierarchy, splitAbove));
  const given = { of: { degrees, splitAbove, place: "queries", prediction } as const, way, plan };
  const placed = place === "auto" ? weighPlaces(problem, planner, { plan, prediction }) : undefined;
  if (placed === undefined) return [given];
  return [given, { of: { ...given.of, place: "grid", prediction: placed.prediction }, way, plan: placed.plan }];
}

/**
 * Whether a way may be so much better than the best one so far that it is worth making its plan. Where the bound leaves room for
 * far more than a plan takes, as on slow devices, it always is; otherwise what is known of better and worse ways decides, which
 * is mostly right and much cheaper.
 */
function isWorthALook(problem: Problem, way: Way, chosen: Weighed, planned: readonly Way[]): boolean {
  const { us, slowest } = chosen.of.prediction;
  // The slowest rank would have the same to do.
  if (isDividedAlike(way, chosen.way, nodeOf(problem.cluster, slowest))) return false;
  const planningUs = planningUsPerRank * ranksOf(problem) + planningUsPerDocument * problem.batch.cuSeqlens.length;
  if (us - way.boundUs > savedForPlanning * planningUs) return true;
  if (way.isUnusual || way.atLeastUs >= (hasFewKvHeads(problem.shape) ? 1 : leastGain) * us) return false;
  // Times have one minimum, from none to all heads split: what lies beyond a worse way is worse still.
  return isPromising(problem, way, chosen) && !planned.some((other) => isBetween(other, way, chosen.way));
}

/** About what one plan takes. */
const planningUsPerRank = 15;
const planningUsPerDocument = 1.5;

/** Most plans save much less than their bounds leave room for. */
const savedForPlanning = 30;

/** Whether the best plan so far leaves something to win for a way, by what holds it up. */
function isPromising(problem: Problem, way: Way, { of, way: best, plan }: Weighed): boolean {
  const { us, computing } = of.prediction;
  // Without a split, documents are in more pieces, and in a backward pass that is felt.
  const isNearFloor = us < nearEnough * computing.mean;
  if (isNearFloor && (problem.pass === "forward" || best.hierarchy.ulysses > 1)) return false;
  if (us > waitsForTransfers * computing.mean) return true;
  if (way.hierarchy.ulysses > ranksPerNode(problem.cluster))
    return hasManyKvHeads(problem) && us > held * computing.mean;
  return way.hierarchy.ulysses > 1 || !isTooMuchToReceive(problem, plan);
}

/** With many kv heads, keys that cross to other nodes cost more than all-to-alls over these do. */
const hasManyKvHeads = ({ shape }: Problem): boolean => shape.heads <= 4 * shape.kvHeads;

/** A plan that takes so many times what its ranks compute is held up by transfers, if not much. */
const held = 1.05;

/** Less is not worth a plan. */
const leastGain = 0.97;

/** No other plan computes much less. */
const nearEnough = 1.015;

/** A plan that takes so many times what its ranks compute waits for transfers, and quite other ways may be better. */
const waitsForTransfers = 1.5;

/**
 * Whether sequence parallelism alone need not be tried where this plan splits heads: if every rank of a node received the keys that
 * now come to its lanes together, that alone would take more than half as long as the all-to-alls; and their many pieces
 * would have to be computed one by one.
 */
function isTooMuchToReceive(problem: Problem, [split]: Plan): boolean {
  if (split.hierarchy.ulysses === 1) return false;
  const { gatherUs, scatterUs } = allToAllTimes(problem, split);
  const { to, itemBegin, items, keyRounds, round } = split.messages;
  const tokens = new Float64Array(split.hierarchy.units);
  for (let message = 0; message < to.length && round[message] < keyRounds; message++) {
    for (let row = itemBegin[message]; row < itemBegin[message + 1]; row++) {
      tokens[to[message]] += items.end[row] - items.begin[row];
    }
  }
  const tokenBytes = laneTokenBytes(problem, { ulysses: 1 });
  const receiveUs = (Math.max(...tokens) * tokenBytes) / (1e3 * problem.cluster.levels[0].bandwidthGBps);
  return receiveUs > 0.5 * (Math.max(...gatherUs) + Math.max(...scatterUs));
}

const degreesOf = (problem: Problem, ulysses: number): Degrees => ({ ulysses, sap: ranksOf(problem) / ulysses });

/** Degrees are chosen first and programs written after that, for the same problem: its plan is still there then. */
let lastChoice: LastChoice | undefined;

interface LastChoice {
  readonly problem: Problem;
  readonly cuSeqlens: Int32Array;
  readonly degrees: Degrees | undefined;
  readonly place: Place;
  readonly choice: Choice;
}

/** Whether a choice was made for this problem: its batch may have changed in place, all else of a problem cannot. */
function isSame(
  { problem, cuSeqlens, degrees, choice }: LastChoice,
  other: Problem,
  given: Degrees | undefined,
): boolean {
  const { batch, ...rest } = other;
  const sameDegrees =
    degrees === given || (given !== undefined && degrees === undefined && isEqual(choice.best.degrees, given));
  const sameSetting =
    problem.shape === rest.shape &&
    problem.cluster === rest.cluster &&
    problem.mask === rest.mask &&
    problem.pass === rest.pass;
  if (!sameDegrees || !sameSetting || cuSeqlens.length !== batch.cuSeqlens.length) return false;
  for (let i = 0; i < cuSeqlens.length; i++) if (cuSeqlens[i] !== batch.cuSeqlens[i]) return false;
  return true;
}

const isEqual = (a: Degrees, b: Degrees): boolean =>
  [...new Set([...Object.keys(a), ...Object.keys(b)])].every((name) => (a[name] ?? 1) === (b[name] ?? 1));
