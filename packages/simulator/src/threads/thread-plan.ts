import { type LoweredSchedule, opKinds, pairTransfers, regionFlags, type Schedule, worldSizeOf } from "@hsap/schedule";
import { InputError } from "@hsap/workload";
import { operandBytes, opTerms, termKindOf, termsOfOp } from "./op-terms.ts";
import type { OpTermTimes, ThreadMachine } from "./thread-machine.ts";

/** What the two threads of every rank do, and what each part of it takes of a core, in microseconds. Rows of all ranks follow each other. */
export interface ThreadPlan {
  readonly ranks: number;
  /** Computation ops, or runs of tiles between which nobody waits. Steps of rank r: rows begin[r] to begin[r + 1]. */
  readonly steps: {
    readonly begin: Int32Array;
    /** Ops of each step, as rows of `ops`. */
    readonly opBegin: Int32Array;
    readonly ops: Int32Array;
    /** Groups of the rank that must have ended; computation ops of the rank that are done once the step is. */
    readonly waitFor: Int32Array;
    readonly finished: Int32Array;
    readonly us: Float64Array;
  };
  readonly groups: {
    readonly begin: Int32Array;
    /** Rows of the schedule's ops. */
    readonly opBegin: Int32Array;
    readonly opEnd: Int32Array;
    /** Computation ops of the rank that must be done. */
    readonly waitFor: Int32Array;
    /** Until its sends are posted. */
    readonly postUs: Float64Array;
  };
  /** Of each op by itself; of a receive, taking what was sent. */
  readonly opUs: Float64Array;
  readonly partner: Int32Array;
  readonly groupOf: Int32Array;
  readonly rankOfGroup: Int32Array;
}

const attend = opKinds.indexOf("attend");
const [send, recv] = [opKinds.indexOf("send"), opKinds.indexOf("recv")];

/**
 * Cuts the programs into what the engine's lanes do (native/src/executor/lanes/lane_plan.cpp) and prices it.
 *
 * @throws InputError if the machine was not measured for what travels.
 */
export function threadPlanOf(schedule: Schedule, lowered: LoweredSchedule, machine: ThreadMachine): ThreadPlan {
  const { dtype } = schedule.problem.shape;
  const times = machine.termNs[dtype];
  if (times === undefined)
    throw new InputError(`no ${dtype} in this profile (measure it: hsap calibrate --dtype ${dtype})`);
  const partner = pairTransfers(schedule);
  const opUs = opTimes(schedule, lowered, machine, times, partner);
  const ranks = worldSizeOf(schedule);
  const steps = new StepList(ranks);
  const groups = new GroupRows(schedule, times);
  for (let rank = 0; rank < ranks; rank++) {
    groups.addRank(rank, lowered.op.waitFor);
    steps.addRank(schedule, rank, lowered.op.waitFor, opUs);
  }
  return { ranks, steps: steps.finish(), ...groups.finish(), opUs, partner };
}

function opTimes(
  schedule: Schedule,
  lowered: LoweredSchedule,
  machine: ThreadMachine,
  times: OpTermTimes,
  partner: Int32Array,
): Float64Array {
  const { ops, problem } = schedule;
  const us = new Float64Array(ops.kind.length);
  const copied = copiedOperands(schedule, lowered, partner);
  // Equal documents come again and again, so their tiles do.
  const priceOf = tilePrices(schedule, machine, times);
  for (let op = 0; op < us.length; op++) {
    if (ops.kind[op] === attend) us[op] = priceOf(op);
    else if (ops.kind[op] === recv) us[op] = takeUs(schedule, op, copied, times);
    else if (ops.kind[op] !== send) {
      // What nobody has measured is taken to cost what reading its operands and writing one does.
      const kind = termKindOf(opKinds[ops.kind[op]], problem.pass) ?? "copy";
      us[op] = priced(termsOfOp(schedule, op, machine), kind, times);
    }
  }
  addEmptying(lowered, times, us);
  return us;
}

const priced = (terms: readonly number[], kind: keyof typeof opTerms, times: OpTermTimes): number =>
  opTerms[kind].reduce((sum, term, i) => sum + terms[i] * times[kind][term], 0) / 1e3;

function tilePrices(schedule: Schedule, machine: ThreadMachine, times: OpTermTimes): (op: number) => number {
  const { ops, blocks, problem } = schedule;
  const known = new Map<string, number>();
  const kind = problem.pass === "forward" ? "attendForward" : "attendBackward";
  return (op) => {
    const [q, k] = [0, 1].map((i) => ops.operands[ops.operandBegin[op] + i]);
    const [queries, keys] = [q, k].map((id) => blocks.tokenEnd[id] - blocks.tokenBegin[id]);
    const offset = ops.attribute[op] === 1 ? blocks.tokenBegin[q] - blocks.tokenBegin[k] : -1;
    const key = `${queries},${keys},${offset},${ops.attribute[op]},${blocks.headBegin[q]},${blocks.headEnd[q]}`;
    const price = known.get(key) ?? priced(termsOfOp(schedule, op, machine), kind, times);
    known.set(key, price);
    return price;
  };
}

function takeUs(schedule: Schedule, op: number, copied: Uint8Array, times: OpTermTimes): number {
  const { operandBegin } = schedule.ops;
  let bytes = 0;
  for (let i = operandBegin[op]; i < operandBegin[op + 1]; i++) if (copied[i] === 1) bytes += operandBytes(schedule, i);
  return priced([0, 1, operandBegin[op + 1] - operandBegin[op], bytes], "group", times);
}

/** 1 for each received operand whose bytes are copied: not handed over as a pointer, as what never changes is. */
function copiedOperands({ ops }: Schedule, lowered: LoweredSchedule, partner: Int32Array): Uint8Array {
  const { operand, region } = lowered;
  const copied = new Uint8Array(ops.operands.length);
  const own = regionsWithOwnMemory(lowered);
  const handedBy = new Map<number, number>();
  for (let op = 0; op < ops.kind.length; op++) {
    if (ops.kind[op] !== recv) continue;
    for (let i = ops.operandBegin[op]; i < ops.operandBegin[op + 1]; i++) {
      const source = operand.region[ops.operandBegin[partner[op]] + i - ops.operandBegin[op]];
      if ((region.flags[operand.region[i]] & regionFlags.handedOver) !== 0) handedBy.set(operand.region[i], source);
      else copied[i] = 1;
    }
  }
  // Where the memory that the data lay in at first is taken over by something else, it is copied after all.
  const isStable = (at: number): boolean => {
    const source = handedBy.get(at);
    return source === undefined ? own[at] === 1 : isStable(source);
  };
  for (let op = 0; op < ops.kind.length; op++) {
    if (ops.kind[op] !== recv) continue;
    for (let i = ops.operandBegin[op]; i < ops.operandBegin[op + 1]; i++)
      if (copied[i] === 0 && !isStable(operand.region[i])) copied[i] = 1;
  }
  return copied;
}

/** 1 for each region whose memory no other region of its rank ever shares. */
function regionsWithOwnMemory({ rank, region, tensor }: LoweredSchedule): Uint8Array {
  const own = new Uint8Array(region.tensor.length).fill(1);
  const endOf = (at: number): number => {
    const of = region.tensor[at];
    const rows = (region.tokenEnd[at] - region.tokenBegin[at]) * (region.headEnd[at] - region.headBegin[at]);
    return (
      region.offset[at] + rows * tensor.width[of] * (tensor.dtype[of] === 0 || tensor.accumulates[of] === 1 ? 4 : 2)
    );
  };
  for (let r = 0; r + 1 < rank.regionBegin.length; r++) {
    const order = Array.from(
      { length: rank.regionBegin[r + 1] - rank.regionBegin[r] },
      (_, i) => rank.regionBegin[r] + i,
    );
    order.sort((a, b) => region.offset[a] - region.offset[b]);
    // The region that reaches furthest so far overlaps the next one if any before it does.
    let furthest = -1;
    for (const at of order) {
      if (furthest >= 0 && region.offset[at] < endOf(furthest)) own[furthest] = own[at] = 0;
      if (furthest < 0 || endOf(at) > endOf(furthest)) furthest = at;
    }
  }
  return own;
}

/** Accumulators that are set empty on the way, before the op that writes them first. */
function addEmptying({ region, tensor }: LoweredSchedule, times: OpTermTimes, us: Float64Array): void {
  for (let at = 0; at < region.initOp.length; at++) {
    const op = region.initOp[at];
    if (op < 0) continue;
    const rows = (region.tokenEnd[at] - region.tokenBegin[at]) * (region.headEnd[at] - region.headBegin[at]);
    us[op] += priced([1, rows * tensor.width[region.tensor[at]]], "empty", times);
  }
}

class StepList {
  readonly #begin: Int32Array;
  readonly #opBegin: number[] = [];
  readonly #ops: number[] = [];
  readonly #waitFor: number[] = [];
  readonly #finished: number[] = [];
  readonly #us: number[] = [];

  constructor(ranks: number) {
    this.#begin = new Int32Array(ranks + 1);
  }

  /** A tile continues the step before it unless it waits for more, or somebody waits for what is done so far. */
  addRank({ ops, opBegin }: Schedule, rank: number, waits: Int32Array, opUs: Float64Array): void {
    const awaited = new Set<number>();
    for (let op = opBegin[rank]; op < opBegin[rank + 1]; op++) if (ops.kind[op] <= recv) awaited.add(waits[op]);
    const first = this.#opBegin.length;
    let [done, waited, last] = [0, 0, -1];
    for (let op = opBegin[rank]; op < opBegin[rank + 1]; op++) {
      if (ops.kind[op] <= recv) continue;
      const continues =
        this.#opBegin.length > first &&
        ops.kind[op] === attend &&
        last === attend &&
        waits[op] <= waited &&
        !awaited.has(done);
      if (!continues) {
        waited = Math.max(waited, waits[op]);
        this.#opBegin.push(this.#ops.length);
        this.#waitFor.push(waited);
        this.#finished.push(0);
        this.#us.push(0);
      }
      const step = this.#opBegin.length - 1;
      this.#ops.push(op);
      this.#finished[step] = ++done;
      this.#us[step] += opUs[op];
      last = ops.kind[op];
    }
    this.#begin[rank + 1] = this.#opBegin.length;
  }

  finish(): ThreadPlan["steps"] {
    return {
      begin: this.#begin,
      opBegin: Int32Array.of(...this.#opBegin, this.#ops.length),
      ops: Int32Array.from(this.#ops),
      waitFor: Int32Array.from(this.#waitFor),
      finished: Int32Array.from(this.#finished),
      us: Float64Array.from(this.#us),
    };
  }
}

class GroupRows {
  readonly #begin: Int32Array;
  readonly #rows: number[][] = [[], [], []];
  readonly #postUs: number[] = [];
  readonly #rank: number[] = [];
  readonly #groupOf: Int32Array;

  constructor(
    private readonly schedule: Schedule,
    private readonly times: OpTermTimes,
  ) {
    this.#begin = new Int32Array(worldSizeOf(schedule) + 1);
    this.#groupOf = new Int32Array(schedule.ops.kind.length).fill(-1);
  }

  addRank(rank: number, waits: Int32Array): void {
    const { ops, opBegin } = this.schedule;
    for (let op = opBegin[rank]; op < opBegin[rank + 1]; ) {
      if (ops.kind[op] > recv) {
        op++;
        continue;
      }
      const begin = op;
      let [sends, blocks] = [0, 0];
      for (; op < opBegin[rank + 1] && ops.kind[op] <= recv && ops.group[op] === ops.group[begin]; op++) {
        this.#groupOf[op] = this.#rank.length;
        if (ops.kind[op] !== send) continue;
        sends++;
        blocks += ops.operandBegin[op + 1] - ops.operandBegin[op];
      }
      for (const [column, value] of [begin, op, waits[begin]].entries()) this.#rows[column].push(value);
      this.#postUs.push(priced([1, sends, blocks, 0], "group", this.times));
      this.#rank.push(rank);
    }
    this.#begin[rank + 1] = this.#rank.length;
  }

  finish(): Pick<ThreadPlan, "groups" | "groupOf" | "rankOfGroup"> {
    const [opBegin, opEnd, waitFor] = this.#rows.map((column) => Int32Array.from(column));
    const groups = { begin: this.#begin, opBegin, opEnd, waitFor, postUs: Float64Array.from(this.#postUs) };
    return { groups, groupOf: this.#groupOf, rankOfGroup: Int32Array.from(this.#rank) };
  }
}
