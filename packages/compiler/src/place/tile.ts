import type { Problem } from "@hsap/schedule";
import type { Sharding } from "../shard/shard.ts";

/** The keys that each piece of the sharding attends to as queries: row by row like its pieces. */
export interface Tiling {
  readonly kBegin: Int32Array;
  readonly kEnd: Int32Array;
}

/**
 * Pass 2, cut the block-diagonal mask along ownership borders of the queries: one tile for each piece, its queries against all
 * keys of its document that they see, trimmed to what the mask leaves. Keys are not cut yet: along which borders they
 * arrive is decided by routing and staging.
 */
export function tile({ batch: { cuSeqlens }, mask }: Problem, { pieces: { document, end } }: Sharding): Tiling {
  const kBegin = new Int32Array(document.length);
  const kEnd = new Int32Array(document.length);
  for (let piece = 0; piece < document.length; piece++) {
    kBegin[piece] = cuSeqlens[document[piece]];
    kEnd[piece] = mask === "full" ? cuSeqlens[document[piece] + 1] : end[piece];
  }
  return { kBegin, kEnd };
}
