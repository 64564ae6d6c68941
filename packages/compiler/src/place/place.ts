import { doubled, type Piece, PieceList, type Pieces, pieceAt } from "../piece.ts";
import { rowNumbers, sortByKey } from "../radix-sort.ts";
import type { Sharding } from "../shard/shard.ts";
import type { Tiling } from "./tile.ts";

/** Keys and values that units need and do not own, as columns: in order of document, then unit, then position. */
export interface Needs extends Pieces {
  readonly unit: Int32Array;
}

export interface Placement {
  /** The tiles, computed by the units that own their queries. */
  readonly tiles: Tiling;
  /** What keys must travel for; documents that stay with one unit need nothing. */
  readonly needs: Needs;
}

/** Needs as people and tests read them. */
export const needsOf = ({ needs }: Placement): (Piece & { readonly unit: number })[] =>
  Array.from(needs.unit, (unit, row) => ({ unit, ...pieceAt(needs, row) }));

/**
 * Pass 3, who computes a tile: the owner of its queries, so that keys and values travel, and (o, lse) or dq never do.
 * With few kv heads that is also the cheapest: a token's keys and values are smaller than its query and output.
 * A unit needs exactly the keys that its tiles read, less its own.
 */
export function place(sharding: Sharding, tiles: Tiling): Placement {
  const gaps = new PieceList();
  let unitOfGap = new Int32Array(256);
  for (let unit = 0; unit + 1 < sharding.pieceBegin.length; unit++) {
    const first = gaps.length;
    collectMissing(sharding, tiles, unit, gaps);
    while (unitOfGap.length < gaps.length) unitOfGap = doubled(unitOfGap);
    unitOfGap.fill(unit, first, gaps.length);
  }
  const order = rowNumbers(gaps.length);
  sortByKey(order, Uint32Array.from(gaps.document));
  return {
    tiles,
    needs: {
      unit: order.map((row) => unitOfGap[row]),
      document: order.map((row) => gaps.document[row]),
      begin: order.map((row) => gaps.begin[row]),
      end: order.map((row) => gaps.end[row]),
    },
  };
}

/** Adds the keys that the tiles of a unit read and the unit does not hold, in order of position. */
function collectMissing({ pieceBegin, pieces }: Sharding, { kBegin, kEnd }: Tiling, unit: number, gaps: PieceList) {
  const past = pieceBegin[unit + 1];
  for (let first = pieceBegin[unit]; first < past; ) {
    const document = pieces.document[first];
    let begin = kBegin[first];
    let end = kEnd[first];
    let next = first;
    for (; next < past && pieces.document[next] === document; next++) {
      begin = Math.min(begin, kBegin[next]);
      end = Math.max(end, kEnd[next]);
    }
    for (let own = first; own < next; own++) {
      if (pieces.begin[own] > begin) gaps.push(document, begin, Math.min(pieces.begin[own], end));
      begin = Math.max(begin, pieces.end[own]);
    }
    if (begin < end) gaps.push(document, begin, end);
    first = next;
  }
}
