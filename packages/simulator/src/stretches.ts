import type { Schedule } from "@hsap/schedule";
import { ascending } from "./ascending.ts";

/**
 * Stretches of tokens that the blocks at one position of some ops cover: sorted by heads, part and token, joined where they touch,
 * so that each row counts once. One object is filled again and again.
 */
export class Stretches {
  count = 0;
  /** A block with the heads and part of each stretch, and its tokens. */
  readonly block: number[] = [];
  readonly begin: number[] = [];
  readonly end: number[] = [];
  readonly #ids: number[] = [];

  constructor(private readonly schedule: Schedule) {}

  /** Takes the blocks at `position` of the ops in rows `opBegin` to `opEnd`. */
  take(opBegin: number, opEnd: number, position: number): void {
    const { tokenBegin, tokenEnd } = this.schedule.blocks;
    const count = this.#gather(opBegin, opEnd, position);
    const ids = this.#ids;
    let kept = -1;
    for (let i = 0; i < count; i++) {
      const id = ids[i];
      if (kept >= 0 && this.end[kept] >= tokenBegin[id] && this.#areAlike(this.block[kept], id)) {
        if (tokenEnd[id] > this.end[kept]) this.end[kept] = tokenEnd[id];
        continue;
      }
      kept++;
      this.block[kept] = id;
      this.begin[kept] = tokenBegin[id];
      this.end[kept] = tokenEnd[id];
    }
    this.count = kept + 1;
  }

  /** Whether two blocks have the same first head and part, so that they may be joined. */
  #areAlike(a: number, b: number): boolean {
    const { headBegin, part } = this.schedule.blocks;
    return headBegin[a] === headBegin[b] && part[a] === part[b];
  }

  /** Collects the blocks in order, most of those that come several times only once; returns how many. */
  #gather(opBegin: number, opEnd: number, position: number): number {
    const { ops, blocks } = this.schedule;
    const ids = this.#ids;
    let count = 0;
    let isSorted = true;
    let isAlike = true;
    for (let op = opBegin; op < opEnd; op++) {
      const id = ops.operands[ops.operandBegin[op] + position];
      if (count > 0) {
        const last = ids[count - 1];
        if (last === id) continue;
        isAlike &&= this.#areAlike(last, id);
        isSorted &&= blocks.tokenBegin[last] <= blocks.tokenBegin[id];
      }
      ids[count++] = id;
    }
    if (!isAlike) this.#sortAll(count);
    else if (!isSorted) this.#sortByToken(count);
    return count;
  }

  #sortByToken(count: number): void {
    const ids = this.#ids;
    const own = ids.slice(0, count);
    const begins = own.map((id) => this.schedule.blocks.tokenBegin[id]);
    const order = ascending(begins, begins);
    if (order !== undefined) for (let i = 0; i < count; i++) ids[i] = own[order[i]];
  }

  #sortAll(count: number): void {
    const { headBegin, part, tokenBegin } = this.schedule.blocks;
    const sorted = this.#ids
      .slice(0, count)
      .sort((a, b) => headBegin[a] - headBegin[b] || part[a] - part[b] || tokenBegin[a] - tokenBegin[b]);
    for (let i = 0; i < count; i++) this.#ids[i] = sorted[i];
  }
}

/** Rows of tokens, as sorted stretches that do not touch. */
export class RowSet {
  #begins: number[] = [];
  #ends: number[] = [];

  /**
   * Adds the stretches `from` to `to` of some that are sorted and do not touch; returns how many of their rows were there before.
   */
  add({ begin, end }: Stretches, from: number, to: number): number {
    let at = firstAbove(this.#ends, begin[from]);
    let rows = 0;
    let common = 0;
    for (let i = from; i < to; i++) {
      rows += end[i] - begin[i];
      while (at < this.#ends.length && this.#ends[at] <= begin[i]) at++;
      for (let j = at; j < this.#ends.length && this.#begins[j] < end[i]; j++)
        common += Math.min(end[i], this.#ends[j]) - Math.max(begin[i], this.#begins[j]);
    }
    // Mostly the same rows come again, or rows none of which was there.
    if (common < rows) this.#unite(begin, end, from, to);
    return common;
  }

  #unite(begin: readonly number[], end: readonly number[], from: number, to: number): void {
    const begins: number[] = [];
    const ends: number[] = [];
    let old = 0;
    for (let i = from; i < to || old < this.#begins.length; ) {
      const takesOld = i >= to || (old < this.#begins.length && this.#begins[old] <= begin[i]);
      const [first, past] = takesOld ? [this.#begins[old], this.#ends[old]] : [begin[i], end[i]];
      if (takesOld) old++;
      else i++;
      const last = ends.length - 1;
      if (last >= 0 && first <= ends[last]) ends[last] = Math.max(ends[last], past);
      else {
        begins.push(first);
        ends.push(past);
      }
    }
    this.#begins = begins;
    this.#ends = ends;
  }
}

/** The first place of an ascending list whose value is above `value`. */
function firstAbove(sorted: readonly number[], value: number): number {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (sorted[middle] > value) high = middle;
    else low = middle + 1;
  }
  return low;
}
