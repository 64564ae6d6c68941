import type { Problem } from "@hsap/schedule";
import { KernelClock } from "../cost/kernel-time.ts";
import { allToAllTimes, type RoundTimes, roundTimes } from "../cost/transfer-time.ts";
import type { Part, Plan } from "../plan.ts";
import { type Traffic, trafficOf } from "../route/traffic.ts";
import type { OwnPortions } from "./own-portions.ts";
import { UnitTiles } from "./unit-tiles.ts";

/** Microseconds of what a part transfers, as far as they are known before programs are written. */
export interface TransferTimes {
  /** Of each round. */
  readonly rounds: Float64Array;
  readonly messages: RoundTimes;
  /** Until the last keys are there, counted from when the first leave. */
  readonly keysUs: number;
  /** All-to-alls by unit; 0 where no heads are split. */
  readonly gatherUs: Float64Array;
  readonly scatterUs: Float64Array;
}

function transferTimes(problem: Problem, part: Part, traffic: Traffic): TransferTimes {
  const messages = roundTimes(problem, part.hierarchy, part.messages, traffic);
  const rounds = messages.us;
  let keysUs = 0;
  for (let round = 0; round < part.messages.keyRounds; round++) keysUs += rounds[round];
  return { rounds, messages, keysUs, ...allToAllTimes(problem, part) };
}

/** A part of the plan as units work on it, one after the other: `tiles` are those of unit `unit`. */
export class PartWork {
  unit = -1;
  readonly traffic: Traffic;
  readonly times: TransferTimes;
  readonly tiles: UnitTiles;

  constructor(
    problem: Problem,
    readonly part: Part,
  ) {
    const { hierarchy, placement, messages } = part;
    const heads = problem.shape.heads / hierarchy.ulysses;
    this.traffic = trafficOf(messages, hierarchy.units);
    this.times = transferTimes(problem, part, this.traffic);
    this.tiles = new UnitTiles(problem, placement, messages, this.traffic, new KernelClock(problem), heads);
  }
}

/** The parts of a plan as ranks work on them. */
export class PlanWork {
  readonly parts: readonly PartWork[];
  readonly #isForward: boolean;
  /** What was decided for each part; nothing in a forward pass. */
  #portions: readonly OwnPortions[] = [];

  constructor(problem: Problem, plan: Plan) {
    this.parts = plan.map((part) => new PartWork(problem, part));
    this.#isForward = problem.pass === "forward";
  }

  /** Whether tiles on own keys are divided as a walk through all steps says, which knows when gradients are back. */
  get isDividedByWalk(): boolean {
    return !this.#isForward;
  }

  /** From now on tiles on own keys are divided like this. */
  decide(portions: readonly OwnPortions[]): void {
    this.#portions = portions;
    for (const part of this.parts) part.unit = -1;
  }

  /** Makes the tiles of the rank's units and divides them in portions, in a backward pass as was decided. */
  prepare(rank: number): void {
    const [first, second] = this.parts;
    const unit = unitOf(first, rank);
    if (unit !== first.unit) {
      first.unit = unit;
      const { keyRounds, rounds } = first.part.messages;
      makeTiles(first, this.#isForward && second === undefined && rounds === keyRounds);
      if (this.#isForward) divideBesideReturns(first);
      else this.#portions[0]?.divide(first.tiles, unit);
    }
    if (second === undefined) return;
    second.unit = unitOf(second, rank);
    second.tiles.make(second.unit);
    if (this.#isForward) divideBesideHeads(second, first);
    else this.#portions[1]?.divide(second.tiles, second.unit);
  }
}

export const unitOf = ({ part }: Pick<PartWork, "part">, rank: number): number =>
  Math.floor(rank / part.hierarchy.ulysses);

/**
 * Divides the tiles on own keys of a forward pass's part that stands alone, or whose heads are split: as much of them comes after all
 * others as lasts while partial results return, less what is computed then anyway.
 */
function divideBesideReturns({ part: { messages }, times, tiles }: PartWork): void {
  const { keyRounds, rounds } = messages;
  if (rounds === keyRounds) return;
  const lateUs = tiles.timeUs(tiles.lateBegin, tiles.length);
  const tails = Array.from(times.rounds.subarray(keyRounds), (us) => Math.max(0, tailOfResults * us - lateUs));
  tiles.divideOwn(tails);
}

/** Of how long the slowest unit's partial results take: most units have theirs earlier, and wait less if all leave a little later. */
const tailOfResults = 0.9;

/**
 * Divides the tiles of whole documents in a forward pass: some are computed while heads of the others are gathered and their keys arrive, and
 * some while results are scattered. If there are too few for both, each gets its share.
 */
function divideBesideHeads(whole: PartWork, split: PartWork): void {
  const { tiles } = whole;
  const scatterUs = split.times.scatterUs[split.unit];
  const arrivedUs = tiles.timeUs(tiles.arrivedBegin[0], tiles.length);
  const tailUs = Math.max(0, scatterUs - arrivedUs);
  const splitOwnUs = split.tiles.timeUs(0, split.tiles.ownBegin[1]);
  const headUs = split.times.gatherUs[split.unit] + Math.max(0, split.times.keysUs - splitOwnUs);
  const ownUs = tiles.timeUs(0, tiles.ownBegin[1]);
  const room = Math.min(1, ownUs / Math.max(1, headUs + tailUs));
  tiles.divideOwn([lastPortion * tailUs * room]);
}

/** Computation beside an all-to-all is slowed down, so a little more of it is needed. */
export const lastPortion = 1.1;

/**
 * Whether a forward pass should wait for all keys and compute everything at once: it should if waiting costs less than a second
 * call, which reads and writes its outputs again and has more and smaller tiles. The tiles are made as is better.
 */
function makeTiles({ part: { messages }, times, unit, tiles }: PartWork, isForward: boolean): void {
  tiles.make(unit);
  const arrived = tiles.arrivedBegin[0];
  if (!isForward || tiles.length === arrived || arrived === 0) return;
  let apartUs = tiles.timeUs(0, arrived);
  let thereUs = 0;
  for (let round = 0; round < messages.keyRounds; round++) {
    thereUs += latestKeys * times.rounds[round];
    const us = tiles.callUs(tiles.arrivedBegin[round], tiles.arrivedBegin[round + 1], true);
    if (us > 0) apartUs = Math.max(apartUs, thereUs) + us;
  }
  tiles.makeTogether(unit);
  if (thereUs + tiles.timeUs(0, tiles.length) < apartUs) return;
  tiles.make(unit);
}

/** Keys may come later than planned, as transfers of one round wait for those of the one before at both their ends. */
export const latestKeys = 1.15;
