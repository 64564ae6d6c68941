import { deviceTiming } from "@hsap/cluster";
import { type Problem, ranksOf } from "@hsap/schedule";
import type { Plan } from "../plan.ts";
import { orderOf, type Step } from "../stage/order.ts";
import { PlanWork } from "../stage/portions.ts";

/** What a plan is predicted to take. */
export interface Prediction {
  /** Until the last rank is done. */
  readonly us: number;
  /** What the ranks compute, mean and highest, in microseconds. */
  readonly computing: { readonly mean: number; readonly max: number };
}

/**
 * Predicts the time of a plan without writing its programs: every rank walks through its steps on two lanes, a step takes
 * what its tiles and transfers take by themselves, and transfers begin when both ends are there. What the simulator knows and this
 * does not: how transfers of different rounds share links, and when exactly each of a group's transfers ends.
 */
export function predictPlan(problem: Problem, plan: Plan): Prediction {
  const work = new PlanWork(problem, plan);
  const steps = orderOf(plan, problem.pass);
  const durations = computationOf(ranksOf(problem), work, steps);
  // Computation is slower beside transfers, and when these are is known only after a first walk.
  const first = new Walk(problem, work, steps, durations);
  const second = new Walk(problem, work, steps, durations, first.stretches);
  return second.prediction();
}

/** Microseconds of each step of computation, by rank. */
function computationOf(ranks: number, work: PlanWork, steps: readonly Step[]): Float64Array[] {
  const durations = steps.map(() => new Float64Array(ranks));
  for (let rank = 0; rank < ranks; rank++) {
    work.prepare(rank);
    steps.forEach((step, i) => {
      const { tiles } = work.parts[step.part];
      const { ownBegin, arrivedBegin } = tiles;
      if (step.kind === "own" && step.portion + 1 < ownBegin.length) {
        durations[i][rank] = tiles.callUs(ownBegin[step.portion], ownBegin[step.portion + 1], false);
      } else if (step.kind === "arrived") {
        const addsUp = ownBegin[ownBegin.length - 1] > 0;
        durations[i][rank] = tiles.callUs(arrivedBegin[step.round], arrivedBegin[step.round + 1], addsUp);
      }
    });
  }
  return durations;
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
    let [sum, max] = [0, 0];
    for (let rank = 0; rank < this.#ranks; rank++) {
      us = Math.max(us, this.#computing[rank], this.#communicating[rank]);
      sum += this.#computed[rank];
      max = Math.max(max, this.#computed[rank]);
    }
    return { us, computing: { mean: sum / this.#ranks, max } };
  }

  #compute(step: Step, us: Float64Array): void {
    for (let rank = 0; rank < this.#ranks; rank++) {
      let ready = this.#gathered[step.part][rank];
      if (step.kind === "arrived" || step.kind === "reduce") {
        ready = Math.max(ready, this.#over[step.part][step.round][rank]);
      }
      if (us[rank] === 0 && step.kind !== "reduce") continue;
      const begin = Math.max(this.#computing[rank], ready);
      this.#computing[rank] = begin + us[rank] + this.#slowdown * this.#besideUs(rank, begin, begin + us[rank]);
      this.#computed[rank] += us[rank];
      if (step.kind === "arrived") this.#attended[step.part][rank] = this.#computing[rank];
    }
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
        if (isGathering) this.#gathered[of][rank] = met + us;
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
