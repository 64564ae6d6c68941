import { type Layout, layoutOf } from "@hsap/schedule";
import type { Hierarchy } from "../hierarchy.ts";
import { doubled } from "../piece.ts";
import { beginOfPart, type Sharding } from "../shard/shard.ts";

/** Token ranges of each rank as columns: those of rank r are rows rangeBegin[r] up to, not including, rangeBegin[r + 1]. */
export interface OwnedRanges {
  readonly rangeBegin: Int32Array;
  readonly begin: Int32Array;
  readonly end: Int32Array;
}

/** Who owns what, rank by rank: the ranks of a unit divide its tokens evenly, in order of position. */
export function ownedRanges({ ulysses, units }: Hierarchy, { pieceBegin, pieces }: Sharding): OwnedRanges {
  const ranges = new RangeList();
  const rangeBegin = new Int32Array(units * ulysses + 1);
  for (let unit = 0; unit < units; unit++) {
    const [first, past] = [pieceBegin[unit], pieceBegin[unit + 1]];
    let tokens = 0;
    for (let row = first; row < past; row++) tokens += pieces.end[row] - pieces.begin[row];
    let row = first;
    // Tokens of the unit before the piece of `row`.
    let before = 0;
    for (let lane = 0; lane < ulysses; lane++) {
      const rank = unit * ulysses + lane;
      const firstRange = ranges.length;
      const from = beginOfPart(tokens, ulysses, lane);
      const to = beginOfPart(tokens, ulysses, lane + 1);
      while (row < past) {
        const begin = pieces.begin[row];
        const size = pieces.end[row] - begin;
        if (from < to) {
          ranges.pushJoined(firstRange, begin + Math.max(0, from - before), begin + Math.min(size, to - before));
        }
        if (before + size > to) break;
        before += size;
        row++;
      }
      rangeBegin[rank + 1] = ranges.length;
    }
  }
  return { rangeBegin, begin: ranges.begin.slice(0, ranges.length), end: ranges.end.slice(0, ranges.length) };
}

/** The ranges of all parts together as objects, as schedules have them. */
export function layoutOfRanges(parts: readonly OwnedRanges[]): Layout {
  const ranges = Array.from({ length: parts[0].rangeBegin.length - 1 }, (_, rank) =>
    parts.flatMap(({ rangeBegin, begin, end }) =>
      Array.from({ length: rangeBegin[rank + 1] - rangeBegin[rank] }, (_, i) => ({
        begin: begin[rangeBegin[rank] + i],
        end: end[rangeBegin[rank] + i],
      })),
    ),
  );
  // The ranges of one part are in order and apart from each other already.
  return parts.length === 1 ? ranges : layoutOf(ranges);
}

class RangeList {
  length = 0;
  begin = new Int32Array(1024);
  end = new Int32Array(1024);

  /** Adds a range if it is not empty, or lengthens the last one of those from row `first` on if they are neighbours. */
  pushJoined(first: number, begin: number, end: number): void {
    if (begin >= end) return;
    if (this.length > first && this.end[this.length - 1] === begin) {
      this.end[this.length - 1] = end;
      return;
    }
    if (this.length === this.begin.length) {
      this.begin = doubled(this.begin);
      this.end = doubled(this.end);
    }
    this.begin[this.length] = begin;
    this.end[this.length++] = end;
  }
}
