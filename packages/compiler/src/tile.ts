import { type Problem, type Tile, tilesBetween } from "@hsap/schedule";
import type { Piece } from "./piece.ts";
import type { Sharding } from "./shard.ts";

/** The attention of one owned piece of queries to all keys of its document that it sees. */
export interface PieceTile extends Tile {
  readonly document: number;
}

/** Tiles by the unit that owns their queries, in order of position. */
export type Tiling = readonly (readonly PieceTile[])[];

/**
 * Pass 2, cut the block-diagonal mask along ownership borders of the queries: one tile for each piece, trimmed to what
 * the mask leaves. Keys are not cut yet: along which borders they arrive is decided by routing and staging.
 */
export function tile({ batch, mask }: Problem, sharding: Sharding): Tiling {
  return sharding.map((pieces) =>
    pieces.flatMap((piece) =>
      tilesBetween(batch, mask, piece, documentRange(batch.cuSeqlens, piece)).map((tile) => ({
        document: piece.document,
        ...tile,
      })),
    ),
  );
}

const documentRange = (cuSeqlens: Int32Array, { document }: Piece) => ({
  begin: cuSeqlens[document],
  end: cuSeqlens[document + 1],
});
