import { deviceTiming } from "@hsap/cluster";
import { bytesPerElement, type Problem, ranksOf } from "@hsap/schedule";
import { sharesKvHeads } from "../hierarchy.ts";
import type { Plan } from "../plan.ts";
import { orderOf, type Step } from "../stage/order.ts";
import { type PartWork, PlanWork } from "../stage/portions.ts";
import { KernelClock } from "./kernel-time.ts";
import { receivedBytesOf, tokensOfUnit } from "./transfer-time.ts";
import { type Prediction, Walk } from "./walk.ts";

/**
 * Predicts the time of a plan without writing its programs: every rank walks through its steps on two lanes, a step takes
 * what its tiles and transfers take by themselves, and transfers begin when both ends are there. What the simulator knows and this
 * does not: how transfers of different rounds share links, and when exactly each of a group's transfers ends.
 */
export const predictPlan = (problem: Problem, plan: Plan): Prediction => timedWork(problem, plan).prediction;

/** The work of a plan with its portions decided: made when its time is predicted, and used again when its programs are written. */
export function timedWork(problem: Problem, plan: Plan): TimedWork {
  let timed = known.get(plan);
  if (timed === undefined) {
    timed = timeWork(problem, plan);
    known.set(plan, timed);
  }
  return timed;
}

interface TimedWork {
  readonly work: PlanWork;
  readonly prediction: Prediction;
}

const known = new WeakMap<Plan, TimedWork>();

function timeWork(problem: Problem, plan: Plan): TimedWork {
  const work = new PlanWork(problem, plan);
  const steps = orderOf(plan, problem.pass);
  const durations = computationOf(problem, work, steps);
  // Computation is slower beside transfers, and when these are is known only after a first walk.
  const first = new Walk(problem, work, steps, durations);
  let best = new Walk(problem, work, steps, durations, first.stretches);
  if (work.isDividedByWalk && deviceTiming(problem.cluster.device).slowdown > 1) {
    // Who is ready early and waits for its peers slows its computation down; it may be better to meet them.
    const meetUs = first.meetings();
    const meeting = new Walk(problem, work, steps, durations, [], meetUs);
    const second = new Walk(problem, work, steps, durations, meeting.stretches, meetUs);
    if (second.prediction().us < best.prediction().us) best = second;
  }
  work.decide(best.portions);
  const bytes = work.parts.reduce((sum, { part, times }) => sum + receivedBytesOf(problem, part, times.messages), 0);
  return { work, prediction: { ...best.prediction(), bytes } };
}

/** Microseconds of each step of computation, by rank; of tiles on own keys all together where the walk divides them. */
function computationOf(problem: Problem, work: PlanWork, steps: readonly Step[]): Float64Array[] {
  const ranks = ranksOf(problem);
  const sums = work.parts.map((part) => new SumClock(problem, part));
  const durations = steps.map(() => new Float64Array(ranks));
  for (let rank = 0; rank < ranks; rank++) {
    work.prepare(rank);
    for (let i = 0; i < steps.length; i++) {
      const step = steps[i];
      const { tiles, unit } = work.parts[step.part];
      const { ownBegin, arrivedBegin } = tiles;
      if (step.kind === "own" && work.isDividedByWalk) {
        durations[i][rank] = tiles.callUs(0, ownBegin[ownBegin.length - 1], false);
      } else if (step.kind === "own" && step.portion + 1 < ownBegin.length) {
        durations[i][rank] = tiles.callUs(ownBegin[step.portion], ownBegin[step.portion + 1], false);
      } else if (step.kind === "arrived") {
        const addsUp = ownBegin[ownBegin.length - 1] > 0;
        // Borrowed queries came in the first round.
        const first = step.round === 0 ? ownBegin[ownBegin.length - 1] : arrivedBegin[step.round];
        durations[i][rank] = tiles.callUs(first, arrivedBegin[step.round + 1], addsUp);
      } else if (step.kind === "late") {
        durations[i][rank] = tiles.callUs(tiles.lateBegin, tiles.length, ownBegin[ownBegin.length - 1] > 0);
      } else if (step.kind === "reduce") durations[i][rank] = sums[step.part].reduceUs(unit, step.round);
      else if (step.kind === "addHeads") durations[i][rank] = sums[step.part].addHeadsUs(unit);
    }
  }
  return durations;
}

/** Times of what a part's units add up besides tiles. */
class SumClock {
  readonly #clock: KernelClock;

  constructor(
    readonly problem: Problem,
    readonly work: PartWork,
  ) {
    this.#clock = new KernelClock(problem);
  }

  /** Gradients that arrive are read, and what they are added to is read and written: those of one message are for different keys, of several mostly for the same. */
  reduceUs(unit: number, round: number): number {
    const { part, times } = this.work;
    const { receivedBytes, largestBytes } = times.messages;
    const place = round * part.hierarchy.units + unit;
    return this.#clock.sumUs(receivedBytes[place] + 2 * largestBytes[place]);
  }

  /** Each kv head's gradients are read from all lanes that share it, and added to the result. */
  addHeadsUs(unit: number): number {
    const { shape } = this.problem;
    const { hierarchy, sharding } = this.work.part;
    if (!sharesKvHeads(hierarchy, shape)) return 0;
    const headBytes = 2 * shape.headDim * bytesPerElement[shape.dtype];
    const tokens = tokensOfUnit(sharding, unit) / hierarchy.ulysses;
    return this.#clock.sumUs((hierarchy.ulysses + 2 * shape.kvHeads) * headBytes * tokens);
  }
}
