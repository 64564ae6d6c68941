import { lanes, type RankItems, spreadOverGroups } from "./dependencies.ts";
import { opKinds } from "./op.ts";
import { firstOperandOf, type RankRegions } from "./regions.ts";
import type { Schedule } from "./schedule.ts";
import { heldBytesOf } from "./tensor.ts";

/** Where the regions of one rank lie in its arena. */
export interface Allocation {
  /** Bytes from the arena's start, multiples of 64. */
  readonly offset: Float64Array;
  /** The rank's peak: the arena's size. */
  readonly arenaBytes: number;
  /** For each op, how many items of the other lane must be finished because it takes over memory from them. */
  readonly waits: Int32Array;
  /** Op (counted from the rank's first) before which an accumulator is set empty, or one of `initOps`. */
  readonly initOp: Int32Array;
}

export const initOps = { beforeProgram: -1, never: -2 } as const;

// Cache lines, and the widest vector registers.
const alignment = 64;
const recv = opKinds.indexOf("recv");

/**
 * Places the regions of a rank. Rows that the rank owns (inputs and outputs) belong to the caller and lie at the arena's
 * start for the whole program. Every other region lives from the first item that touches it to the last in issue order, and
 * takes the smallest hole that it fits into (best fit), or else the arena grows.
 *
 * Computation never waits for a transfer only because of memory: what it writes first takes no hole that a transfer may still
 * use, such as gradients on their way back, and the arena grows instead. Transfers do wait for computation that
 * still uses their holes, as a double buffer does, so receive buffers stay few however far a program runs ahead.
 *
 * The lanes may run apart from issue order, so a region that takes over memory must wait for the last user of that memory
 * on the other lane; on its own lane order is enough. It waits once on each lane, at its first use there: what follows on a
 * lane is later anyway. In the same way the second lane to touch an accumulator waits for the op that sets it empty.
 *
 * @param dataWaits what each op waits for because of the data it uses, as `dataWaits` says.
 */
export function allocate(
  schedule: Schedule,
  regions: RankRegions,
  items: RankItems,
  dataWaits: Int32Array,
): Allocation {
  const { ops, opBegin, tensors } = schedule;
  const { rank, count, ofOperand } = regions;
  const rows = items.item.length;
  const firstOperand = firstOperandOf(schedule, rank);
  const bytes = regionBytes(schedule, regions);
  const lastItem = lastItems(schedule, regions, items);
  const arena = new Arena();
  const offset = new Float64Array(count).fill(-1);
  const initOp = new Int32Array(count).fill(initOps.never);
  const waits = new Int32Array(rows);
  // For each lane, what a region's first use there waits for on the other lane, and its last use there so far.
  const waitAt = [new Int32Array(count), new Int32Array(count)];
  const usedAt = [new Int32Array(count), new Int32Array(count)];
  // Groups that computation up to here waits for.
  let finished = 0;

  for (const { region, tensor } of regions.owned) {
    if (offset[region] >= 0) continue;
    offset[region] = arena.take(bytes[region]);
    lastItem[region] = -1;
    if (tensors[tensor].accumulates) initOp[region] = initOps.beforeProgram;
  }

  /** Gives the operand's region a place if it has none yet, and lets the op wait for whoever had that place. */
  const use = (operand: number, op: number): void => {
    const region = ofOperand[operand];
    const lane = items.lane[op];
    if (offset[region] < 0) {
      offset[region] = arena.take(bytes[region], lane === lanes.computation ? finished : undefined);
      const former = arena.formerUsers(offset[region], bytes[region]);
      waitAt[lanes.communication][region] = former[lanes.computation];
      waitAt[lanes.computation][region] = former[lanes.communication];
      if (tensors[regions.tensor[region]].accumulates && !fillsWhole(schedule, regions, operand, op)) {
        initOp[region] = op;
        waitAt[1 - lane][region] = items.ordinal[op];
      }
    }
    if (usedAt[lane][region] === 0) waits[op] = Math.max(waits[op], waitAt[lane][region]);
    if (lane === lanes.computation) finished = Math.max(finished, waits[op]);
    usedAt[lane][region] = items.ordinal[op];
  };

  for (let begin = 0, end = 0; begin < rows; begin = end) {
    for (; end < rows && items.item[end] === items.item[begin]; end++) {
      const row = opBegin[rank] + end;
      if (items.lane[end] === lanes.computation) finished = Math.max(finished, dataWaits[end]);
      for (let i = ops.operandBegin[row]; i < ops.operandBegin[row + 1]; i++) use(i - firstOperand, end);
    }
    const operandEnd = ops.operandBegin[opBegin[rank] + end] - firstOperand;
    for (let i = ops.operandBegin[opBegin[rank] + begin] - firstOperand; i < operandEnd; i++) {
      const region = ofOperand[i];
      if (lastItem[region] !== items.item[begin]) continue;
      lastItem[region] = -1;
      arena.give(offset[region], bytes[region], [usedAt[0][region], usedAt[1][region]]);
    }
  }
  spreadOverGroups(items, waits);
  return { offset, arenaBytes: arena.bytes, waits, initOp };
}

function regionBytes({ tensors }: Schedule, regions: RankRegions): Float64Array {
  const held = tensors.map(heldBytesOf);
  return Float64Array.from({ length: regions.count }, (_, i) => {
    const tokens = Math.max(0, regions.tokenEnd[i] - regions.tokenBegin[i]);
    const heads = Math.max(0, regions.headEnd[i] - regions.headBegin[i]);
    return Math.ceil((tokens * heads * held[regions.tensor[i]]) / alignment) * alignment;
  });
}

/** The last item that touches each region. */
function lastItems({ ops, opBegin }: Schedule, { rank, count, ofOperand }: RankRegions, items: RankItems): Int32Array {
  const last = new Int32Array(count).fill(-1);
  const first = opBegin[rank];
  let operand = 0;
  for (let i = 0; i < items.item.length; i++) {
    const operands = ops.operandBegin[first + i + 1] - ops.operandBegin[first + i];
    for (let end = operand + operands; operand < end; operand++) last[ofOperand[operand]] = items.item[i];
  }
  return last;
}

/** Whether the op is a receive that fills the whole region of its operand, so that nothing need be set empty. */
function fillsWhole({ ops, opBegin, blocks }: Schedule, regions: RankRegions, operand: number, op: number): boolean {
  if (ops.kind[opBegin[regions.rank] + op] !== recv) return false;
  const region = regions.ofOperand[operand];
  const id = ops.operands[ops.operandBegin[opBegin[regions.rank]] + operand];
  return (
    blocks.tokenBegin[id] === regions.tokenBegin[region] &&
    blocks.tokenEnd[id] === regions.tokenEnd[region] &&
    blocks.headBegin[id] === regions.headBegin[region] &&
    blocks.headEnd[id] === regions.headEnd[region]
  );
}

/** For each lane, the ordinal of its last item that used some memory; 0 if none did. */
type LastUsers = readonly [number, number];

/** A part of a hole. */
interface Stretch {
  readonly hole: number;
  readonly begin: number;
  readonly end: number;
}

/** Memory by address: holes to be taken, and who used each address last. Both are sorted lists of disjoint pieces. */
class Arena {
  bytes = 0;
  readonly #holeBegin: number[] = [];
  readonly #holeEnd: number[] = [];
  readonly #usedBegin: number[] = [];
  readonly #usedEnd: number[] = [];
  readonly #usedBy: LastUsers[] = [];

  /**
   * The smallest hole that holds `bytes`, or new memory at the end (on top of a hole there). Of holes only what no group after
   * `finished` has used, where that is given.
   */
  take(bytes: number, finished = Number.POSITIVE_INFINITY): number {
    let best: Stretch | undefined;
    let last: Stretch | undefined;
    for (let hole = 0; hole < this.#holeBegin.length; hole++) {
      for (const stretch of this.#freeStretches(hole, finished)) {
        const size = stretch.end - stretch.begin;
        if (size >= bytes && (best === undefined || size < best.end - best.begin)) best = stretch;
        last = stretch;
      }
    }
    if (best === undefined && last?.end === this.bytes) best = last;
    if (best === undefined) {
      this.bytes += bytes;
      return this.bytes - bytes;
    }
    this.#cutHole(best.hole, best.begin, best.begin + bytes);
    return best.begin;
  }

  /** The parts of a hole that no group after `finished` has used. */
  #freeStretches(hole: number, finished: number): Stretch[] {
    let begin = this.#holeBegin[hole];
    const end = this.#holeEnd[hole];
    if (finished === Number.POSITIVE_INFINITY) return [{ hole, begin, end }];
    const stretches: Stretch[] = [];
    for (let i = this.#firstUsedAfter(begin); i < this.#usedBegin.length && this.#usedBegin[i] < end; i++) {
      if (this.#usedBy[i][lanes.communication] <= finished) continue;
      if (this.#usedBegin[i] > begin) stretches.push({ hole, begin, end: this.#usedBegin[i] });
      begin = Math.max(begin, this.#usedEnd[i]);
    }
    if (begin < end) stretches.push({ hole, begin, end });
    return stretches;
  }

  /** Takes a piece out of a hole; the arena grows if the piece ends beyond it. */
  #cutHole(hole: number, begin: number, end: number): void {
    this.bytes = Math.max(this.bytes, end);
    const rest = [
      [this.#holeBegin[hole], begin],
      [end, this.#holeEnd[hole]],
    ].filter(([from, to]) => from < to);
    this.#holeBegin.splice(hole, 1, ...rest.map(([from]) => from));
    this.#holeEnd.splice(hole, 1, ...rest.map(([, to]) => to));
  }

  give(offset: number, bytes: number, users: LastUsers): void {
    if (bytes === 0) return;
    this.#remember(offset, offset + bytes, users);
    const at = firstFrom(this.#holeBegin, offset);
    const joinsBefore = at > 0 && this.#holeEnd[at - 1] === offset;
    const joinsAfter = at < this.#holeBegin.length && this.#holeBegin[at] === offset + bytes;
    if (joinsBefore && joinsAfter) {
      this.#holeEnd[at - 1] = this.#holeEnd[at];
      this.#holeBegin.splice(at, 1);
      this.#holeEnd.splice(at, 1);
    } else if (joinsBefore) this.#holeEnd[at - 1] += bytes;
    else if (joinsAfter) this.#holeBegin[at] -= bytes;
    else {
      this.#holeBegin.splice(at, 0, offset);
      this.#holeEnd.splice(at, 0, offset + bytes);
    }
  }

  /** The last users of any address in the piece. */
  formerUsers(offset: number, bytes: number): LastUsers {
    let [communication, computation] = [0, 0];
    for (let i = this.#firstUsedAfter(offset); i < this.#usedBegin.length && this.#usedBegin[i] < offset + bytes; i++) {
      communication = Math.max(communication, this.#usedBy[i][0]);
      computation = Math.max(computation, this.#usedBy[i][1]);
    }
    return [communication, computation];
  }

  /**
   * Notes the last users of a piece in place of those before. Nobody need remember the former ones: the piece's first use
   * on each lane has waited for them.
   */
  #remember(begin: number, end: number, users: LastUsers): void {
    const from = this.#firstUsedAfter(begin);
    // Buffers of one size take each other's place again and again.
    if (this.#usedBegin[from] === begin && this.#usedEnd[from] === end) {
      this.#usedBy[from] = users;
      return;
    }
    let to = from;
    const pieces: { begin: number; end: number; users: LastUsers }[] = [];
    for (; to < this.#usedBegin.length && this.#usedBegin[to] < end; to++) {
      const piece = { begin: this.#usedBegin[to], end: this.#usedEnd[to], users: this.#usedBy[to] };
      if (piece.begin < begin) pieces.push({ ...piece, end: begin });
      if (to === from) pieces.push({ begin, end, users });
      if (piece.end > end) pieces.push({ ...piece, begin: end });
    }
    if (pieces.length === 0) pieces.push({ begin, end, users });
    this.#usedBegin.splice(from, to - from, ...pieces.map((piece) => piece.begin));
    this.#usedEnd.splice(from, to - from, ...pieces.map((piece) => piece.end));
    this.#usedBy.splice(from, to - from, ...pieces.map((piece) => piece.users));
  }

  /** The first piece with known users that ends after `offset`. */
  #firstUsedAfter(offset: number): number {
    const at = firstFrom(this.#usedBegin, offset);
    return at > 0 && this.#usedEnd[at - 1] > offset ? at - 1 : at;
  }
}

/** The first position whose value is at least `value`. */
function firstFrom(sorted: readonly number[], value: number): number {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (sorted[middle] < value) low = middle + 1;
    else high = middle;
  }
  return low;
}
