import { nodesOf, ranksPerNode } from "@hsap/cluster";
import { type Degrees, type Problem, ranksOf } from "@hsap/schedule";
import { type Prediction, predictPlan } from "./cost/predict.ts";
import { allToAllTimes, laneTokenBytes } from "./cost/transfer-time.ts";
import { hierarchyOf, ulyssesDegrees } from "./hierarchy.ts";
import type { Place } from "./place/arrangements.ts";
import { weighPlaces } from "./places.ts";
import { type Plan, Planner } from "./plan.ts";

/** Every pair of degrees that is possible for the problem: heads split inside units, the sequence between them. */
export function candidateDegrees(problem: Problem): Degrees[] {
  return ulyssesDegrees(problem).map((ulysses) => degreesOf(problem, ulysses));
}

/** The degrees with the least predicted time when balanced; see `choosePlan`. */
export const chooseDegrees = (problem: Problem): Degrees => choosePlan(problem).best.degrees;

/** One way to divide heads and sequence, and what it is predicted to take. */
export interface Considered {
  readonly degrees: Degrees;
  /** Heads are split of documents heavier than so many ranks' shares, and of those that several nodes hold; see `splitNodes`. */
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
 * Ulysses alone, sequence parallelism alone and both together are points of the space. As many ranks as split heads at all do so
 * best, so other degrees than the largest inside a node are tried only where gradients return, and none once a plan is near
 * what its ranks compute anyway.
 *
 * @param degrees the degrees to keep to; all that are worth it are tried if left out.
 * @param place `auto` to weigh as well where tiles are computed; otherwise that is by the owners of their queries.
 */
export function choosePlan(problem: Problem, degrees?: Degrees, place: Place = "auto"): Choice {
  if (lastChoice?.place === place && isSame(lastChoice, problem, degrees)) return lastChoice.choice;
  const planner = new Planner(problem);
  let chosen: { readonly of: Considered; readonly plan: Plan } | undefined;
  const considered: Considered[] = [];
  const known = new Set<string>();
  for (const { ulysses, splitAbove } of waysFor(problem, degrees)) {
    if (ulysses === 1 && chosen !== undefined && isTooMuchToReceive(problem, chosen.plan)) continue;
    const hierarchy = hierarchyOf(problem, degreesOf(problem, ulysses));
    const split = planner.split(hierarchy, splitAbove);
    // More documents are split with each lower threshold, so equally many are the same; where there are none all ways are one.
    const way = split === 0 ? "flat" : `${ulysses},${split}`;
    if (known.has(way)) continue;
    known.add(way);
    const plan = planner.plan(hierarchy, splitAbove);
    const of = degreesOf(problem, split === 0 && degrees === undefined ? 1 : ulysses);
    for (const predicted of placesOf(problem, planner, plan, place)) {
      const { prediction } = predicted;
      considered.push({ degrees: of, splitAbove, place: predicted.place, prediction });
      if (chosen === undefined || prediction.us < chosen.of.prediction.us) {
        chosen = { of: considered[considered.length - 1], plan: predicted.plan };
      }
    }
    if (chosen === undefined) continue;
    const { us, computing } = chosen.of.prediction;
    // Without a split, documents are in more pieces, and in a backward pass that is felt.
    if (us < nearEnough * computing.mean && (problem.pass === "forward" || chosen.of.degrees.ulysses > 1)) break;
  }
  if (chosen === undefined) throw new Error("no degrees: 1 is always possible");
  const choice = { best: chosen.of, plan: chosen.plan, considered };
  lastChoice = { problem, cuSeqlens: problem.batch.cuSeqlens.slice(), degrees, place, choice };
  return choice;
}

/** A plan whose tiles are all computed by the owners of their queries, and another if some in two dimensions may take less. */
function placesOf(problem: Problem, planner: Planner, plan: Plan, place: Place) {
  const given = { plan, prediction: predictPlan(problem, plan), place: "queries" as const };
  const placed = place === "auto" ? weighPlaces(problem, planner, given) : undefined;
  return placed === undefined ? [given] : [given, { ...placed, place: "grid" as const }];
}

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

/** No other plan computes much less. */
const nearEnough = 1.015;

interface Way {
  readonly ulysses: number;
  readonly splitAbove: number;
}

function waysFor(problem: Problem, degrees: Degrees | undefined): Way[] {
  if (degrees !== undefined) {
    const { ulysses } = hierarchyOf(problem, degrees);
    return ulysses === 1
      ? [{ ulysses, splitAbove: 0 }]
      : thresholds(problem).map((splitAbove) => ({ ulysses, splitAbove }));
  }
  const possible = ulyssesDegrees(problem).filter((ulysses) => ulysses <= ranksPerNode(problem.cluster));
  const most = possible[possible.length - 1];
  const flat = { ulysses: 1, splitAbove: 0 };
  if (most === 1) return [flat];
  const [first, ...others] = thresholds(problem).map((splitAbove) => ({ ulysses: most, splitAbove }));
  if (nodesOf(problem.cluster) === 1) return [flat, first, ...others];
  return [first, flat, ...others, ...waysOverNodes(problem)];
}

/**
 * With many kv heads, gradients of keys that return over slow links cost more than all-to-alls over them: then heads of everything
 * that several nodes or ranks would share may be split by all ranks.
 */
function waysOverNodes(problem: Problem): Way[] {
  const { cluster, pass, shape } = problem;
  if (pass === "forward" || shape.heads > 4 * shape.kvHeads) return [];
  if (!ulyssesDegrees(problem).includes(cluster.ranks)) return [];
  return [0, 1].map((splitAbove) => ({ ulysses: cluster.ranks, splitAbove }));
}

/**
 * Whose heads may be split. A backward pass returns gradients to the owners of keys where they are not, and few rows of long
 * documents leave a rank many short ones, which is felt there too; so documents inside a node count as well.
 */
function thresholds({ cluster, pass }: Problem): number[] {
  const inNodes = pass === "forward" ? [] : [1, 0.5];
  return nodesOf(cluster) > 1 ? [Number.POSITIVE_INFINITY, ...inNodes] : [1, ...inNodes.slice(1)];
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
