import { documentAt, type PackedBatch } from "@hsap/workload";
import type { TokenRange } from "./block.ts";
import type { Mask } from "./problem.ts";

/** A unit of attention work inside one document, trimmed to rows and columns that hold an unmasked pair. */
export interface Tile {
  readonly qBegin: number;
  readonly qEnd: number;
  readonly kBegin: number;
  readonly kEnd: number;
  readonly mask: "full" | "causal";
}

/** Unmasked pairs of one head of a tile. */
export function tileArea({ qBegin, qEnd, kBegin, kEnd, mask }: Tile): number {
  if (mask === "full") return (qEnd - qBegin) * (kEnd - kBegin);
  // Row q sees keys kBegin to min(q + 1, kEnd): a ramp up to row kEnd - 1, then whole rows.
  const rampBegin = Math.max(qBegin, kBegin);
  const rampEnd = Math.min(qEnd, kEnd);
  const ramp = rampEnd > rampBegin ? ((rampBegin + 1 - kBegin + (rampEnd - kBegin)) * (rampEnd - rampBegin)) / 2 : 0;
  return ramp + Math.max(0, qEnd - Math.max(qBegin, kEnd)) * (kEnd - kBegin);
}

/** The tiles of queries `q` against keys `k`: one for each document that has an unmasked pair there, in document order. */
export function tilesBetween(batch: PackedBatch, mask: Mask, q: TokenRange, k: TokenRange): Tile[] {
  const tiles: Tile[] = [];
  const { cuSeqlens } = batch;
  if (q.begin >= q.end || k.begin >= k.end) return tiles;
  // A document with a pair here overlaps both ranges: it ends after both begin, and begins before both end.
  const end = Math.min(q.end, k.end);
  for (let d = documentAt(batch, Math.max(q.begin, k.begin)); d + 1 < cuSeqlens.length && cuSeqlens[d] < end; d++) {
    const tile = trim(mask, clip(q, cuSeqlens[d], cuSeqlens[d + 1]), clip(k, cuSeqlens[d], cuSeqlens[d + 1]));
    if (tile !== undefined) tiles.push(tile);
  }
  return tiles;
}

const clip = (range: TokenRange, begin: number, end: number): TokenRange => ({
  begin: Math.max(range.begin, begin),
  end: Math.min(range.end, end),
});

function trim(mask: Mask, q: TokenRange, k: TokenRange): Tile | undefined {
  if (q.begin >= q.end || k.begin >= k.end) return undefined;
  if (mask === "full") return { qBegin: q.begin, qEnd: q.end, kBegin: k.begin, kEnd: k.end, mask: "full" };
  const qBegin = Math.max(q.begin, k.begin);
  const kEnd = Math.min(k.end, q.end);
  if (qBegin >= q.end || k.begin >= kEnd) return undefined;
  return { qBegin, qEnd: q.end, kBegin: k.begin, kEnd, mask: kEnd <= qBegin + 1 ? "full" : "causal" };
}
