import { opKinds, writtenMasks } from "./op.ts";
import { firstOperandOf, type RankRegions } from "./regions.ts";
import type { Schedule } from "./schedule.ts";

/** The two lanes of a rank. Items of the communication lane are groups, items of the computation lane are ops. */
export const lanes = { communication: 0, computation: 1 } as const;

/**
 * The items of one rank in issue order. A group of sends and receives is one item, because it starts and ends as a whole;
 * every computation op is one. Columns have one row for each op.
 */
export interface RankItems {
  readonly count: number;
  /** Item of each op. */
  readonly item: Int32Array;
  /** Lane of each op. */
  readonly lane: Uint8Array;
  /** How many items of the op's own lane there are up to and including its own: 1, 2, ... */
  readonly ordinal: Int32Array;
}

export function itemsOf({ ops, opBegin }: Schedule, rank: number): RankItems {
  const first = opBegin[rank];
  const rows = opBegin[rank + 1] - first;
  const item = new Int32Array(rows);
  const lane = new Uint8Array(rows);
  const ordinal = new Int32Array(rows);
  const counts = [0, 0];
  let count = 0;
  for (let i = 0; i < rows; i++) {
    const row = first + i;
    const ownLane = opKinds[ops.kind[row]] === "send" || opKinds[ops.kind[row]] === "recv" ? 0 : 1;
    const continues =
      i > 0 && ownLane === lanes.communication && lane[i - 1] === ownLane && ops.group[row] === ops.group[row - 1];
    if (!continues) {
      count++;
      counts[ownLane]++;
    }
    item[i] = count - 1;
    lane[i] = ownLane;
    ordinal[i] = counts[ownLane];
  }
  return { count, item, lane, ordinal };
}

/**
 * For each op of a rank, how many items of the other lane must be finished before it may start, because it reads what they
 * write, or writes what they read or write. A lane runs in order, so the last such item stands for all before it: a count is
 * an exact dependency. Rows of one group get the largest count among them.
 *
 * The accesses of a region are remembered in cells, cut at every token and head where one of its blocks begins or ends, so
 * blocks that do not overlap never wait for one another. Regions that only one lane touches, or that nobody writes, need no
 * memory at all; for most schedules these are the most.
 */
export function dataWaits(schedule: Schedule, regions: RankRegions, items: RankItems): Int32Array {
  const { ops, opBegin, blocks, problem } = schedule;
  const { rank, ofOperand } = regions;
  const first = opBegin[rank];
  const firstOperand = firstOperandOf(schedule, rank);
  const written = writtenMasks(problem.pass === "backward");
  const accesses = new RegionAccesses(regions, contested(schedule, regions, items, written));
  for (let i = 0; i < ofOperand.length; i++) {
    const id = ops.operands[firstOperand + i];
    accesses.cut(ofOperand[i], blocks.tokenBegin[id], blocks.tokenEnd[id], blocks.headBegin[id], blocks.headEnd[id]);
  }
  accesses.finishCuts();
  const waits = new Int32Array(items.item.length);
  for (let i = 0; i < waits.length; i++) {
    const row = first + i;
    const mask = written[ops.kind[row]];
    const begin = ops.operandBegin[row];
    for (let operand = begin; operand < ops.operandBegin[row + 1]; operand++) {
      const region = ofOperand[operand - firstOperand];
      if (!accesses.remembers(region)) continue;
      const id = ops.operands[operand];
      const writes = isSet(mask, operand - begin);
      accesses.select(region, blocks.tokenBegin[id], blocks.tokenEnd[id], blocks.headBegin[id], blocks.headEnd[id]);
      waits[i] = Math.max(waits[i], accesses.latest(1 - items.lane[i], writes));
      accesses.record(items.lane[i], writes, items.ordinal[i]);
    }
  }
  spreadOverGroups(items, waits);
  return waits;
}

/** Gives all rows of an item the largest count among them. */
export function spreadOverGroups({ item }: RankItems, waits: Int32Array): void {
  for (let begin = 0; begin < waits.length; ) {
    let end = begin + 1;
    let largest = waits[begin];
    while (end < waits.length && item[end] === item[begin]) largest = Math.max(largest, waits[end++]);
    waits.fill(largest, begin, end);
    begin = end;
  }
}

export const isSet = (mask: number, position: number): boolean => ((mask >>> Math.min(position, 31)) & 1) === 1;

/** Which regions both lanes touch and at least one writes. */
function contested(schedule: Schedule, regions: RankRegions, items: RankItems, written: Int32Array): Uint8Array {
  const { ops, opBegin } = schedule;
  const firstOperand = firstOperandOf(schedule, regions.rank);
  const touched = new Uint8Array(regions.count);
  for (let i = 0; i < items.item.length; i++) {
    const row = opBegin[regions.rank] + i;
    const begin = ops.operandBegin[row];
    for (let operand = begin; operand < ops.operandBegin[row + 1]; operand++) {
      const write = isSet(written[ops.kind[row]], operand - begin) ? 4 : 0;
      touched[regions.ofOperand[operand - firstOperand]] |= (1 << items.lane[i]) | write;
    }
  }
  return touched.map((bits) => (bits === 7 ? 1 : 0));
}

/**
 * The last item of each lane that wrote, and that touched, each cell of a region. A region has one row of token cells for
 * each band of heads; each row is a segment tree, so an access to a thousand cells costs as little as one to a few.
 */
class RegionAccesses {
  readonly #cutTokens: number[][] = [];
  readonly #cutHeads: number[][] = [];
  /** Sorted token and head borders of each remembered region. */
  readonly #tokens: Int32Array[] = [];
  readonly #heads: Int32Array[] = [];
  /** Cells in a row of each remembered region's trees, and where its trees begin: four for each band of heads. */
  readonly #cells: Int32Array;
  readonly #treeBegin: Int32Array;
  #trees = new LatestTrees(0);
  #region = 0;
  #tokenFrom = 0;
  #tokenTo = 0;
  #headFrom = 0;
  #headTo = 0;

  constructor(
    { count }: RankRegions,
    private readonly remembered: Uint8Array,
  ) {
    this.#cells = new Int32Array(count);
    this.#treeBegin = new Int32Array(count);
    for (let region = 0; region < count; region++) {
      if (remembered[region] === 0) continue;
      this.#cutTokens[region] = [];
      this.#cutHeads[region] = [];
    }
  }

  remembers(region: number): boolean {
    return this.remembered[region] === 1;
  }

  cut(region: number, tokenBegin: number, tokenEnd: number, headBegin: number, headEnd: number): void {
    if (this.remembered[region] === 0) return;
    const tokens = this.#cutTokens[region];
    const heads = this.#cutHeads[region];
    // Most regions are used as they were received, whole.
    if (tokens[0] === tokenBegin && tokens[1] === tokenEnd && heads[0] === headBegin && heads[1] === headEnd) return;
    tokens.push(tokenBegin, tokenEnd);
    heads.push(headBegin, headEnd);
  }

  finishCuts(): void {
    let nodes = 0;
    this.#cutTokens.forEach((cuts, region) => {
      this.#tokens[region] = sortedUnique(cuts);
      this.#heads[region] = sortedUnique(this.#cutHeads[region]);
      const bands = Math.max(1, this.#heads[region].length - 1);
      this.#cells[region] = 2 ** Math.ceil(Math.log2(Math.max(1, this.#tokens[region].length - 1)));
      this.#treeBegin[region] = nodes;
      nodes += 4 * bands * 2 * this.#cells[region];
    });
    this.#trees = new LatestTrees(nodes);
  }

  /** Chooses the block that `latest` and `record` speak of. */
  select(region: number, tokenBegin: number, tokenEnd: number, headBegin: number, headEnd: number): void {
    this.#region = region;
    this.#tokenFrom = indexOf(this.#tokens[region], tokenBegin);
    this.#tokenTo = indexOf(this.#tokens[region], tokenEnd);
    this.#headFrom = indexOf(this.#heads[region], headBegin);
    this.#headTo = indexOf(this.#heads[region], headEnd);
  }

  /** The last item of `lane` that conflicts with an access to the selected block: a read conflicts with writes only. */
  latest(lane: number, writes: boolean): number {
    let latest = 0;
    for (let band = this.#headFrom; band < this.#headTo; band++) {
      const tree = this.#tree(band, lane, writes);
      latest = Math.max(latest, this.#trees.latest(tree, this.#cells[this.#region], this.#tokenFrom, this.#tokenTo));
    }
    return latest;
  }

  record(lane: number, writes: boolean, ordinal: number): void {
    const cells = this.#cells[this.#region];
    for (let band = this.#headFrom; band < this.#headTo; band++) {
      if (writes) this.#trees.record(this.#tree(band, lane, false), cells, this.#tokenFrom, this.#tokenTo, ordinal);
      this.#trees.record(this.#tree(band, lane, true), cells, this.#tokenFrom, this.#tokenTo, ordinal);
    }
  }

  /** Where the tree begins that remembers the writes of `lane`, or whatever touched (reads too). */
  #tree(band: number, lane: number, touched: boolean): number {
    const tree = 4 * band + 2 * lane + (touched ? 1 : 0);
    return this.#treeBegin[this.#region] + tree * 2 * this.#cells[this.#region];
  }
}

/**
 * Segment trees in one array: each answers for the largest number recorded over a range of its cells (a power of two).
 * Numbers only grow, so a later record always prevails.
 */
class LatestTrees {
  /** Largest number recorded anywhere below a node, and recorded for the whole of it. */
  readonly #below: Int32Array;
  readonly #whole: Int32Array;

  constructor(nodes: number) {
    this.#below = new Int32Array(nodes);
    this.#whole = new Int32Array(nodes);
  }

  record(tree: number, cells: number, begin: number, end: number, value: number): void {
    if (begin >= end) return;
    for (let l = begin + cells, r = end + cells; l < r; l >>= 1, r >>= 1) {
      if (l & 1) this.#set(tree + l++, value);
      if (r & 1) this.#set(tree + --r, value);
    }
    // Every ancestor of a node that was set holds the range's first or last cell.
    for (let node = (begin + cells) >> 1; node >= 1; node >>= 1) this.#below[tree + node] = value;
    for (let node = (end - 1 + cells) >> 1; node >= 1; node >>= 1) this.#below[tree + node] = value;
  }

  latest(tree: number, cells: number, begin: number, end: number): number {
    let latest = 0;
    if (begin >= end) return latest;
    for (let l = begin + cells, r = end + cells; l < r; l >>= 1, r >>= 1) {
      if (l & 1) latest = Math.max(latest, this.#below[tree + l++]);
      if (r & 1) latest = Math.max(latest, this.#below[tree + --r]);
    }
    for (let node = (begin + cells) >> 1; node >= 1; node >>= 1) latest = Math.max(latest, this.#whole[tree + node]);
    for (let node = (end - 1 + cells) >> 1; node >= 1; node >>= 1) latest = Math.max(latest, this.#whole[tree + node]);
    return latest;
  }

  #set(node: number, value: number): void {
    this.#below[node] = value;
    this.#whole[node] = value;
  }
}

function sortedUnique(values: number[]): Int32Array {
  const sorted = new Int32Array(values).sort();
  let kept = 0;
  for (let i = 0; i < sorted.length; i++) if (i === 0 || sorted[i] !== sorted[kept - 1]) sorted[kept++] = sorted[i];
  return sorted.slice(0, kept);
}

function indexOf(sorted: Int32Array, value: number): number {
  let low = 0;
  let high = sorted.length - 1;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (sorted[middle] < value) low = middle + 1;
    else high = middle;
  }
  return low;
}
