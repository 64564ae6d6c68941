import type { Piece } from "./piece.ts";
import type { Sharding } from "./shard.ts";
import type { PieceTile, Tiling } from "./tile.ts";

/** Keys and values that a unit needs and does not own. */
export interface Need extends Piece {
  readonly unit: number;
}

export interface Placement {
  /** The tiles that each unit computes. */
  readonly tiles: readonly (readonly PieceTile[])[];
  /** What each document's keys must travel for, by document; documents that stay with one unit are left out. */
  readonly needs: ReadonlyMap<number, readonly Need[]>;
}

/**
 * Pass 3, who computes a tile: the owner of its queries, so that keys and values travel, and (o, lse) or dq never do.
 * With few kv heads that is also the cheapest: a token's keys and values are smaller than its query and output.
 * A unit needs exactly the keys that its tiles read, less its own.
 */
export function place(sharding: Sharding, tiling: Tiling): Placement {
  const needs = new Map<number, Need[]>();
  tiling.forEach((tiles, unit) => {
    for (const piece of missing(tiles, sharding[unit])) {
      const of = needs.get(piece.document);
      if (of === undefined) needs.set(piece.document, [{ unit, ...piece }]);
      else of.push({ unit, ...piece });
    }
  });
  return { tiles: tiling, needs };
}

/** The keys that `tiles` read and `owned` does not hold; both in order of position, and no piece twice. */
function missing(tiles: readonly PieceTile[], owned: readonly Piece[]): Piece[] {
  const gaps: Piece[] = [];
  let next = 0;
  for (let i = 0; i < tiles.length; ) {
    const { document } = tiles[i];
    let begin = tiles[i].kBegin;
    let end = tiles[i].kEnd;
    for (; i < tiles.length && tiles[i].document === document; i++) {
      begin = Math.min(begin, tiles[i].kBegin);
      end = Math.max(end, tiles[i].kEnd);
    }
    for (; next < owned.length && owned[next].document <= document; next++) {
      if (owned[next].document < document) continue;
      if (owned[next].begin > begin) gaps.push({ document, begin, end: Math.min(owned[next].begin, end) });
      begin = Math.max(begin, owned[next].end);
    }
    if (begin < end) gaps.push({ document, begin, end });
  }
  return gaps;
}
