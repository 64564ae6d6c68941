import { opKinds, type Schedule, worldSizeOf, writtenMasks } from "@hsap/schedule";
import { ascending } from "./ascending.ts";

const recv = opKinds.indexOf("recv");

/**
 * For each op, how many items of the other lane of its rank must be finished first: for a computation op groups, for a send or
 * receive computation ops. All rows of a group have the same. Equals `dataWaitsOf` of the schedule, which lowering uses, in a
 * fraction of its time: lowering has to place every block in memory, here only blocks that travel matter, since only those are
 * touched by both lanes.
 */
export function laneWaitsOf(schedule: Schedule): Int32Array {
  const waits = new Int32Array(schedule.ops.kind.length);
  const written = writtenMasks(schedule.problem.pass === "backward");
  for (let rank = 0; rank < worldSizeOf(schedule); rank++) {
    const travelling = new TravellingBlocks(schedule, rank);
    if (!travelling.isEmpty) rankWaits(schedule, rank, travelling, written, waits);
  }
  return waits;
}

function rankWaits(
  { ops, opBegin }: Schedule,
  rank: number,
  travelling: TravellingBlocks,
  written: Int32Array,
  waits: Int32Array,
): void {
  let [groups, computed, operand] = [0, 0, 0];
  for (let row = opBegin[rank]; row < opBegin[rank + 1]; ) {
    if (ops.kind[row] > recv) {
      waits[row] = travelling.compute(row, written[ops.kind[row]], ++computed);
      row++;
      continue;
    }
    const begin = row;
    groups++;
    let latest = 0;
    for (; row < opBegin[rank + 1] && ops.kind[row] <= recv && ops.group[row] === ops.group[begin]; row++) {
      for (let i = ops.operandBegin[row]; i < ops.operandBegin[row + 1]; i++)
        latest = Math.max(latest, travelling.travel(operand++, ops.kind[row] === recv, groups));
    }
    waits.fill(latest, begin, row);
  }
}

/** Families of one tensor and part, and which of them overlap the heads that were asked for last. */
interface Bands {
  readonly ofHeads: Map<number, Family>;
  askedFor: number;
  found: readonly Family[];
}

const headsPerKey = 2 ** 16;

/** Blocks of one tensor, part and range of heads that a rank sends or receives: distinct, by their first and last token. */
interface Family {
  readonly headBegin: number;
  readonly headEnd: number;
  /** As they come; afterwards sorted. */
  begins: number[];
  ends: number[];
  /** The furthest token that any block up to this one reaches. */
  reach: number[];
  /** Places of blocks with which the list of a send or receive began, by their first token. */
  readonly starts: Map<number, number>;
  /** The send or receive whose list is being read. */
  row: number;
  /** For each place as they came where its block went by sorting; undefined where none moved. */
  went: readonly number[] | undefined;
  /** Slot of the first block. */
  first: number;
  /** Where the last search ended: the next one is mostly for the same block, or the one after it. */
  hint: number;
}

/**
 * What a rank sends and receives, and which items last touched it. A computation op leaves its mark on every travelling block
 * that it overlaps, and asks every one of them, so that it does not matter whether travelling blocks overlap each other.
 */
class TravellingBlocks {
  readonly #bands = new Map<number, Bands>();
  /** Those of the tensors themselves (part 0), by tensor: found without a search. */
  readonly #whole: (Bands | undefined)[] = [];
  /** Slot of each operand of the rank's sends and receives. */
  readonly #slotOf: Int32Array;
  /** Of each slot: the last group and computation op that wrote it, and that touched it at all. */
  readonly #sentBy: Int32Array;
  readonly #receivedBy: Int32Array;
  readonly #usedBy: Int32Array;
  readonly #writtenBy: Int32Array;

  constructor(
    private readonly schedule: Schedule,
    rank: number,
  ) {
    const familyOf: Family[] = [];
    const placeOf: number[] = [];
    this.#collect(rank, familyOf, placeOf);
    let slots = 0;
    let sorted: SortedFamily | undefined;
    for (const { ofHeads } of this.#bands.values()) {
      for (const family of ofHeads.values()) {
        family.first = slots;
        // Values travel as their keys do.
        if (sorted === undefined || !isLike(family, sorted)) sorted = sortFamily(family);
        family.begins = sorted.begins;
        family.ends = sorted.ends;
        family.reach = sorted.reach;
        family.hint = 0;
        family.went = sorted.went;
        slots += family.begins.length;
      }
    }
    this.#slotOf = new Int32Array(placeOf.length);
    for (let i = 0; i < placeOf.length; i++) {
      const { first, went } = familyOf[i];
      this.#slotOf[i] = first + (went === undefined ? placeOf[i] : went[placeOf[i]]);
    }
    this.#sentBy = new Int32Array(slots);
    this.#receivedBy = new Int32Array(slots);
    this.#usedBy = new Int32Array(slots);
    this.#writtenBy = new Int32Array(slots);
  }

  get isEmpty(): boolean {
    return this.#slotOf.length === 0;
  }

  /** The last computation op that operand number `operand` of the transfers has to wait for; group `ordinal` moves it. */
  travel(operand: number, isReceived: boolean, ordinal: number): number {
    const slot = this.#slotOf[operand];
    this.#sentBy[slot] = ordinal;
    if (!isReceived) return this.#writtenBy[slot];
    this.#receivedBy[slot] = ordinal;
    return this.#usedBy[slot];
  }

  /** The last group that a computation op has to wait for; it is number `ordinal` of the rank. `written` has a bit for each block. */
  compute(row: number, written: number, ordinal: number): number {
    const { ops, blocks } = this.schedule;
    const begin = ops.operandBegin[row];
    const end = ops.operandBegin[row + 1];
    let latest = 0;
    for (let i = begin; i < end; i++) {
      const id = ops.operands[i];
      const bands =
        blocks.part[id] === 0
          ? this.#whole[blocks.tensor[id]]
          : this.#bands.get(blocks.part[id] * 256 + blocks.tensor[id]);
      if (bands === undefined) continue;
      const writes = ((written >>> Math.min(i - begin, 31)) & 1) === 1;
      for (const family of overlapping(bands, blocks.headBegin[id], blocks.headEnd[id]))
        latest = Math.max(latest, this.#touch(family, blocks.tokenBegin[id], blocks.tokenEnd[id], writes, ordinal));
    }
    return latest;
  }

  #touch(family: Family, tokenBegin: number, tokenEnd: number, writes: boolean, ordinal: number): number {
    const { begins, ends, first } = family;
    let at = firstReaching(family, tokenBegin);
    family.hint = at;
    let latest = 0;
    for (; at < begins.length && begins[at] < tokenEnd; at++) {
      if (ends[at] <= tokenBegin) continue;
      const slot = first + at;
      const other = writes ? this.#sentBy[slot] : this.#receivedBy[slot];
      if (other > latest) latest = other;
      this.#usedBy[slot] = ordinal;
      if (writes) this.#writtenBy[slot] = ordinal;
    }
    return latest;
  }

  /** Notes the family of each operand of the rank's transfers, and the block's place among those of the family. */
  #collect(rank: number, familyOf: Family[], placeOf: number[]): void {
    const { ops, opBegin, blocks } = this.schedule;
    for (let row = opBegin[rank]; row < opBegin[rank + 1]; row++) {
      if (ops.kind[row] > recv) continue;
      for (let i = ops.operandBegin[row]; i < ops.operandBegin[row + 1]; i++) {
        const id = ops.operands[i];
        const family = this.#familyOf(blocks.tensor[id], blocks.part[id], blocks.headBegin[id], blocks.headEnd[id]);
        placeOf.push(placeIn(family, blocks.tokenBegin[id], blocks.tokenEnd[id], row));
        familyOf.push(family);
      }
    }
  }

  #familyOf(tensor: number, part: number, headBegin: number, headEnd: number): Family {
    let bands = part === 0 ? this.#whole[tensor] : this.#bands.get(part * 256 + tensor);
    if (bands === undefined) {
      bands = { ofHeads: new Map(), askedFor: -1, found: [] };
      this.#bands.set(part * 256 + tensor, bands);
      if (part === 0) this.#whole[tensor] = bands;
    }
    const heads = headBegin * headsPerKey + headEnd;
    let family = bands.ofHeads.get(heads);
    if (family === undefined) {
      family = {
        headBegin,
        headEnd,
        begins: [],
        ends: [],
        reach: [],
        starts: new Map(),
        row: -1,
        went: undefined,
        first: 0,
        hint: -1,
      };
      bands.ofHeads.set(heads, family);
    }
    return family;
  }
}

function overlapping(bands: Bands, headBegin: number, headEnd: number): readonly Family[] {
  const heads = headBegin * headsPerKey + headEnd;
  if (bands.askedFor !== heads) {
    bands.askedFor = heads;
    bands.found = [...bands.ofHeads.values()].filter(
      (family) => family.headBegin < headEnd && headBegin < family.headEnd,
    );
  }
  return bands.found;
}

/** The place of a block in a family that is not sorted yet; it is added where it is not found at once. */
function placeIn(family: Family, begin: number, end: number, row: number): number {
  const { begins, ends, starts } = family;
  const startsList = family.row !== row;
  family.row = row;
  // What was received is mostly sent on in the same order: if the list starts alike, each block follows the one before it.
  let place = startsList ? (starts.get(begin) ?? begins.length) : family.hint + 1;
  if (place >= begins.length || begins[place] !== begin || ends[place] !== end) {
    place = begins.length;
    begins.push(begin);
    ends.push(end);
    if (startsList) starts.set(begin, place);
  }
  family.hint = place;
  return place;
}

interface SortedFamily {
  /** As they came. */
  readonly given: Pick<Family, "begins" | "ends">;
  readonly begins: number[];
  readonly ends: number[];
  readonly reach: number[];
  /** For each place where its block went; undefined where none moved. */
  readonly went: readonly number[] | undefined;
}

const isLike = ({ begins, ends }: Family, { given }: SortedFamily): boolean =>
  begins.length === given.begins.length &&
  begins.every((begin, i) => begin === given.begins[i] && ends[i] === given.ends[i]);

/** Sorts the blocks of a family and leaves each out but once. */
function sortFamily({ begins, ends }: Family): SortedFamily {
  const given = { begins, ends };
  // Most families are what one rank sends to another: a few ranges in their order.
  if (areApart(begins, ends)) return { given, begins, ends, reach: ends, went: undefined };
  const order = ascending(begins, ends);
  const went = new Array<number>(begins.length);
  const [sortedBegins, sortedEnds, reach]: [number[], number[], number[]] = [[], [], []];
  for (let i = 0; i < begins.length; i++) {
    const place = order === undefined ? i : order[i];
    const last = sortedBegins.length - 1;
    if (last < 0 || sortedBegins[last] !== begins[place] || sortedEnds[last] !== ends[place]) {
      sortedBegins.push(begins[place]);
      sortedEnds.push(ends[place]);
      reach.push(last < 0 ? ends[place] : Math.max(reach[last], ends[place]));
    }
    went[place] = sortedBegins.length - 1;
  }
  return { given, begins: sortedBegins, ends: sortedEnds, reach, went };
}

function areApart(begins: readonly number[], ends: readonly number[]): boolean {
  for (let i = 1; i < begins.length; i++) if (begins[i] < ends[i - 1]) return false;
  return true;
}

/** The first block of a sorted family that reaches beyond `token`, or any before it does. */
function firstReaching({ reach, hint }: Family, token: number): number {
  for (let at = hint; at < Math.min(hint + 2, reach.length); at++) {
    if (reach[at] > token && (at === 0 || reach[at - 1] <= token)) return at;
  }
  let low = 0;
  let high = reach.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (reach[middle] > token) high = middle;
    else low = middle + 1;
  }
  return low;
}
