import { deviceTiming } from "@hsap/cluster";
import { type Problem, ranksOf } from "@hsap/schedule";
import type { Step } from "../stage/order.ts";
import { OwnPortions } from "../stage/own-portions.ts";
import { lastPortion, latestKeys, type PlanWork } from "../stage/portions.ts";

/** What a plan is predicted to take. */
export interface Prediction {
  /** Until the last rank is done. */
  readonly us: number;
  /** That rank. */
  readonly slowest: number;
  /** What the ranks compute, mean and highest, in microseconds. */
  readonly computing: { readonly mean: number; readonly max: number };
  /** Bytes that all ranks receive. */
  readonly bytes: number;
}

/** Begins and ends of a rank's communication, in turn. */
type Stretches = readonly number[];

type OwnStep = Extract<Step, { readonly kind: "own" }>;

/**
 * Walks all ranks through the steps of a plan. In a backward pass it also decides when tiles on own keys are computed: as much of them
 * as there is to wait for, before each step that waits, and the rest at the end. So tiles on keys that arrived come as soon as they
 * can, their gradients leave early, and who is ready before its peers has something to do until they are.
 */
export class Walk {
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
  /** When tiles on own keys are computed, by part, if that is for the walk to decide. */
  readonly portions: readonly OwnPortions[];
  /** Microseconds of tiles on the keys of each round of each part, by rank. */
  readonly #arrived: readonly (readonly Float64Array[])[];

  /** All rounds of gradients of the first part, one after the other. */
  readonly #returnsUs: number;

  constructor(
    problem: Problem,
    readonly work: PlanWork,
    readonly steps: readonly Step[],
    readonly durations: readonly Float64Array[],
    readonly beside: readonly Stretches[] = [],
    /** Until when units compute own tiles at first, if they have enough of them. */
    readonly meetUs: ArrayLike<number> = [],
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
    this.#arrived = work.parts.map(({ part }, of) =>
      Array.from({ length: part.messages.keyRounds }, (_, round) => durations[indexOf(steps, "arrived", of, round)]),
    );
    this.#returnsUs = work.parts[0].times.rounds
      .subarray(work.parts[0].part.messages.keyRounds)
      .reduce((a, b) => a + b, 0);
    this.portions = work.isDividedByWalk ? work.parts.map((_, of) => this.#undivided(of)) : [];
    steps.forEach((step, i) => {
      if (step.kind === "exchange") this.#exchange(step.part, step.round);
      else if (step.kind === "gather" || step.kind === "scatter") this.#allToAll(step.part, step.kind === "gather");
      else if (step.kind === "own" && work.isDividedByWalk) this.#compute(step, this.#ownUs(step));
      else this.#compute(step, durations[i]);
    });
  }

  /** When each unit can meet all that it exchanges gradients with, directly or by others, if all are as early as they can be. */
  meetings(): Float64Array {
    const [{ part }] = this.work.parts;
    const { keyRounds, round, from, to } = part.messages;
    const { units, ulysses } = part.hierarchy;
    // Units that exchange gradients become one group, and each group meets when the last of it is ready.
    const groups = Int32Array.from({ length: units }, (_, unit) => unit);
    const groupOf = (unit: number) => {
      let group = unit;
      while (groups[group] !== group) group = groups[group];
      groups[unit] = group;
      return group;
    };
    for (let message = 0; message < round.length; message++) {
      if (round[message] >= keyRounds) groups[groupOf(from[message])] = groupOf(to[message]);
    }
    const readyUs = new Float64Array(units);
    for (let unit = 0; unit < units; unit++) {
      const group = groupOf(unit);
      readyUs[group] = Math.max(readyUs[group], this.#attended[0][unit * ulysses]);
    }
    return readyUs.map((_, unit) => readyUs[groupOf(unit)]);
  }

  #undivided(of: number): OwnPortions {
    const { ulysses, units } = this.work.parts[of].part.hierarchy;
    const us = this.durations[indexOf(this.steps, "own", of)];
    const ofUnits = Float64Array.from({ length: units }, (_, unit) => us[unit * ulysses]);
    return new OwnPortions(ofUnits, this.steps.filter(({ kind, part }) => kind === "own" && part === of).length);
  }

  prediction(): Omit<Prediction, "bytes"> {
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

  /** Microseconds of a portion of own tiles, by rank: lanes of a unit have the same tiles. */
  #ownUs({ part: of, portion }: OwnStep): Float64Array {
    const { part, tiles } = this.work.parts[of];
    const { ulysses, units } = part.hierarchy;
    const own = this.portions[of];
    const us = new Float64Array(this.#ranks);
    for (let unit = 0; unit < units; unit++) {
      const isFirst = own.isUntouched(unit);
      own.take(unit, portion, this.#wantedUs(of, unit, portion), this.#keptUs(of, unit));
      const taken = own.us[unit * own.count + portion];
      if (taken > 0) us.fill(taken + (isFirst ? 0 : tiles.clock.launchUs), unit * ulysses, (unit + 1) * ulysses);
    }
    return us;
  }

  /** How long a unit has to wait for what comes next, in microseconds from now. */
  #wantedUs(of: number, unit: number, portion: number): number {
    const { part } = this.work.parts[of];
    const { ulysses } = part.hierarchy;
    const own = this.portions[of];
    if (portion === own.count - 1) return Number.POSITIVE_INFINITY;
    // When later rounds of keys arrive is not known yet.
    if (portion === 0 && part.isFrugal) return Math.max(0, own.leftUs(unit) - this.#returnsUs);
    let wanted = 0;
    for (let rank = unit * ulysses; rank < (unit + 1) * ulysses; rank++) {
      const until = portion === 0 ? this.#keysUntil(of, rank) : this.#returnedAt(portion - 1, rank);
      const now = Math.max(this.#computing[rank], this.#gathered[of][rank]);
      wanted = Math.max(wanted, (until - now) * (portion === 0 ? latestKeys : 1));
    }
    return portion === 0 && of === 0 ? Math.max(wanted, this.#heldBackUs(unit, own.leftUs(unit))) : wanted;
  }

  /** Own tiles that a unit may compute before those that arrived and be no later than those it meets for its first gradients. */
  #heldBackUs(unit: number, leftUs: number): number {
    const { ulysses } = this.work.parts[0].part.hierarchy;
    const rank = unit * ulysses;
    const arrivedUs = this.#arrived[0].reduce((sum, { [rank]: us }) => sum + us, 0);
    const now = Math.max(this.#computing[rank], this.#gathered[0][rank]);
    return Math.min((this.meetUs[unit] ?? 0) - arrivedUs - now, leftUs - this.#returnsUs);
  }

  /** Until when a rank has to compute own tiles, or it would wait for keys later. */
  #keysUntil(of: number, rank: number): number {
    let us = 0;
    let computedUs = 0;
    for (const [other, rounds] of this.#arrived.entries()) {
      for (const [round, { [rank]: arrivedUs }] of rounds.entries()) {
        if (arrivedUs > 0) us = Math.max(us, this.#over[other][round][rank] - computedUs);
        computedUs += arrivedUs;
      }
    }
    if (of === 0) return us;
    // Whole documents come before those whose heads are gathered meanwhile, and which have own tiles too.
    const unit = Math.floor(rank / this.work.parts[0].part.hierarchy.ulysses);
    return Math.max(this.#gathered[0][rank], us - this.portions[0].leftUs(unit));
  }

  /** When a round of gradients of the first part was over. */
  #returnedAt(round: number, rank: number): number {
    return this.#over[0][this.work.parts[0].part.messages.keyRounds + round][rank];
  }

  /** What a unit keeps of its own tiles for the end: whole documents are computed while results of the others are scattered. */
  #keptUs(of: number, unit: number): number {
    if (of === 0) return 0;
    const { part, times } = this.work.parts[0];
    const scatterUs = times.scatterUs[Math.floor(unit / part.hierarchy.ulysses)];
    return lastPortion * scatterUs;
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

/** The first step of that kind and part, of that round if given. */
const indexOf = (steps: readonly Step[], kind: Step["kind"], part: number, round?: number): number =>
  steps.findIndex(
    (step) =>
      step.kind === kind && step.part === part && (!("round" in step) || round === undefined || step.round === round),
  );
