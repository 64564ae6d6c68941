import { deviceTiming } from "@hsap/cluster";
import { bytesPerElement, type Problem, ranksOf } from "@hsap/schedule";
import { sharesKvHeads } from "../hierarchy.ts";
import type { Plan } from "../plan.ts";
import { orderOf, type Step } from "../stage/order.ts";
import { type PartWork, type PlanWork, workOf } from "../stage/portions.ts";
import { KernelClock } from "./kernel-time.ts";
import { tokensOfUnit } from "./transfer-time.ts";

/** What a plan is predicted to take. */
export interface Prediction {
  /** Until the last rank is done. */
  readonly us: number;
  /** That rank. */
  readonly slowest: number;
  /** What the ranks compute, mean and highest, in microseconds. */
  readonly computing: { readonly mean: number; readonly max: number };
}

/**
 * Predicts the time of a plan without writing its programs: every rank walks through its steps on two lanes, a step takes
 * what its tiles and transfers take by themselves, and transfers begin when both ends are there. What the simulator knows and this
 * does not: how transfers of different rounds share links, and when exactly each of a group's transfers ends.
 */
export function predictPlan(problem: Problem, plan: Plan): Prediction {
  const work = workOf(problem, plan);
  const steps = orderOf(plan, problem.pass);
  const durations = computationOf(problem, work, steps);
  // Computation is slower beside transfers, and when these are is known only after a first walk.
  const first = new Walk(problem, work, steps, durations);
  const second = new Walk(problem, work, steps, durations, first.stretches);
  return second.prediction();
}

/** Microseconds of each step of computation, by rank. */
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
      if (step.kind === "own" && step.portion + 1 < ownBegin.length) {
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

/** Begins and ends of a rank's communication, in turn. */
type Stretches = readonly number[];

class Walk {
  readonly stretches: number[][];
  readonly #ranks: number;
  /** Until when each lane of each rank is busy, and how long it has computed. */
  readonly #computing: Float64Array;
  readonly #communicating: Float64Array;
  readonly #computed: Float64Array;
  /** When each part's heads were gathered, its tiles on foreign keys were done and its rounds were over, by rank. */
  readonly #gathered: readonly Float64Array[];
  readonly #attended: readonly Float64Array[];
  readonly #over: readonly (readonly Float64Array[])[];
  /** When each part's results were back with the owners of their tokens, by rank. */
  readonly #scattered: readonly Float64Array[];
  readonly #slowdown: number;

  constructor(
    problem: Problem,
    readonly work: PlanWork,
    steps: readonly Step[],
    durations: readonly Float64Array[],
    readonly beside: readonly Stretches[] = [],
  ) {
    const ranks = ranksOf(problem);
    const perRank = () => new Float64Array(ranks);
    this.#ranks = ranks;
    this.#computing = perRank();
    this.#communicating = perRank();
    this.#computed = perRank();
    this.#gathered = work.parts.map(perRank);
    this.#attended = work.parts.map(perRank);
    this.#scattered = work.parts.map(perRank);
    this.#over = work.parts.map(({ part }) => Array.from({ length: part.messages.rounds }, perRank));
    this.stretches = Array.from({ length: ranks }, () => []);
    this.#slowdown = deviceTiming(problem.cluster.device).slowdown - 1;
    steps.forEach((step, i) => {
      if (step.kind === "exchange") this.#exchange(step.part, step.round);
      else if (step.kind === "gather" || step.kind === "scatter") this.#allToAll(step.part, step.kind === "gather");
      else this.#compute(step, durations[i]);
    });
  }

  prediction(): Prediction {
    let us = 0;
    let slowest = 0;
    let [sum, max] = [0, 0];
    for (let rank = 0; rank < this.#ranks; rank++) {
      const rankUs = Math.max(this.#computing[rank], this.#communicating[rank]);
      if (rankUs > us) slowest = rank;
      us = Math.max(us, rankUs);
      sum += this.#computed[rank];
      max = Math.max(max, this.#computed[rank]);
    }
    return { us, slowest, computing: { mean: sum / this.#ranks, max } };
  }

  #compute(step: Step, us: Float64Array): void {
    for (let rank = 0; rank < this.#ranks; rank++) {
      let ready = this.#gathered[step.part][rank];
      if (step.kind === "arrived" || step.kind === "reduce") {
        ready = Math.max(ready, this.#over[step.part][step.round][rank]);
      } else if (step.kind === "addHeads") ready = this.#scattered[step.part][rank];
      else if (step.kind === "late") ready = Math.max(ready, this.#arrivedBy(step.part, rank));
      if (us[rank] === 0 && step.kind !== "reduce") continue;
      const begin = Math.max(this.#computing[rank], ready);
      this.#computing[rank] = begin + us[rank] + this.#slowdown * this.#besideUs(rank, begin, begin + us[rank]);
      this.#computed[rank] += us[rank];
      if (step.kind === "arrived") this.#attended[step.part][rank] = this.#computing[rank];
    }
  }

  /** When the last keys of a part were there. */
  #arrivedBy(of: number, rank: number): number {
    const { keyRounds } = this.work.parts[of].part.messages;
    let us = 0;
    for (let round = 0; round < keyRounds; round++) us = Math.max(us, this.#over[of][round][rank]);
    return us;
  }

  #besideUs(rank: number, begin: number, end: number): number {
    const stretches = this.beside[rank] ?? [];
    let us = 0;
    for (let i = 0; i < stretches.length; i += 2) {
      us += Math.max(0, Math.min(end, stretches[i + 1]) - Math.max(begin, stretches[i]));
    }
    return us;
  }

  #allToAll(of: number, isGathering: boolean): void {
    const { part, times } = this.work.parts[of];
    const { units, ulysses } = part.hierarchy;
    for (let unit = 0; unit < units; unit++) {
      const us = isGathering ? times.gatherUs[unit] : times.scatterUs[unit];
      if (us === 0) continue;
      const first = unit * ulysses;
      let met = 0;
      for (let rank = first; rank < first + ulysses; rank++) {
        met = Math.max(met, this.#communicating[rank], isGathering ? 0 : this.#computing[rank]);
      }
      for (let rank = first; rank < first + ulysses; rank++) {
        this.#busy(
          rank,
          isGathering ? this.#communicating[rank] : Math.max(this.#communicating[rank], this.#computing[rank]),
          met + us,
        );
        (isGathering ? this.#gathered : this.#scattered)[of][rank] = met + us;
      }
    }
  }

  /** A unit is ready for a round when its lane is free and it has what it sends. */
  #exchange(of: number, round: number): void {
    const { part, times } = this.work.parts[of];
    const { hierarchy, messages } = part;
    const { ulysses, units } = hierarchy;
    const { messageUs, roundBegin } = times.messages;
    const carriesKeys = round < messages.keyRounds;
    const ready = new Float64Array(units);
    const end = new Float64Array(units);
    for (let unit = 0; unit < units; unit++) {
      for (let rank = unit * ulysses; rank < (unit + 1) * ulysses; rank++) {
        const has = carriesKeys ? this.#gathered[of][rank] : this.#attended[of][rank];
        ready[unit] = Math.max(ready[unit], this.#communicating[rank], has);
        // What a round of gradients sends on had to be added up first.
        if (round > messages.keyRounds) ready[unit] = Math.max(ready[unit], this.#over[of][round - 1][rank]);
      }
    }
    for (let message = roundBegin[round]; message < roundBegin[round + 1]; message++) {
      const [from, to] = [messages.from[message], messages.to[message]];
      const there = Math.max(ready[from], ready[to]) + messageUs[message];
      end[from] = Math.max(end[from], there);
      end[to] = Math.max(end[to], there);
    }
    for (let unit = 0; unit < units; unit++) {
      if (end[unit] === 0) continue;
      for (let rank = unit * ulysses; rank < (unit + 1) * ulysses; rank++) {
        this.#busy(rank, ready[unit], end[unit]);
        this.#over[of][round][rank] = end[unit];
      }
    }
  }

  #busy(rank: number, begin: number, end: number): void {
    this.#communicating[rank] = end;
    this.stretches[rank].push(begin, end);
  }
}
