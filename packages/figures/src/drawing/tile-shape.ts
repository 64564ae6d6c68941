import type { Tile } from "@hsap/schedule";

/** A point in the plane of key tokens and query tokens. */
export interface Corner {
  readonly k: number;
  readonly q: number;
}

/** The corners of a tile, clockwise from its first pair: a rectangle, or what the causal diagonal leaves of one. */
export function tileCorners({ qBegin, qEnd, kBegin, kEnd, mask }: Tile): Corner[] {
  const top = { k: kBegin, q: qBegin };
  const bottom = [
    { k: kEnd, q: qEnd },
    { k: kBegin, q: qEnd },
  ];
  if (mask === "full") return [top, { k: kEnd, q: qBegin }, ...bottom];
  // A tile is trimmed to pairs that attend, so the diagonal enters at its top side and leaves at its right side.
  return [top, { k: Math.min(qBegin, kEnd), q: qBegin }, { k: kEnd, q: Math.max(qBegin, kEnd) }, ...bottom];
}
