import {
  type Block,
  evenRanges,
  groupSizeOf,
  type Layout,
  layoutOf,
  type Problem,
  type ScheduleBuilder,
  type Tile,
  type TokenRange,
  tilesBetween,
} from "@hsap/schedule";
import { documentAt, InputError, lengthsOf, tokensOf } from "@hsap/workload";

/** The tokens that one rank owns: sorted ranges, none if there are fewer tokens than ranks. */
export type Shard = readonly TokenRange[];

/** A half-open range of query heads. Of a tensor of keys or values it means the kv heads that those query heads read. */
export type HeadRange = readonly [begin: number, end: number];

/** Rank r owns the r-th of `ranks` contiguous pieces, which differ by at most one token. */
export const contiguousShards = ({ batch }: Problem, ranks: number): Layout =>
  layoutOf(evenRanges(tokensOf(batch), ranks).map((range) => [range]));

/** The sequence is cut in 2P chunks; rank r owns chunks r and 2P - 1 - r, an early one and a late one. */
export function zigzagShards({ batch }: Problem, ranks: number): Layout {
  const chunks = evenRanges(tokensOf(batch), 2 * ranks);
  return layoutOf(Array.from({ length: ranks }, (_, rank) => [chunks[rank], chunks[2 * ranks - 1 - rank]]));
}

/** Every document is cut in 2P chunks by itself; rank r owns chunks r and 2P - 1 - r of each. */
export function zigzagShardsOfDocuments({ batch }: Problem, ranks: number): Layout {
  const shards = Array.from({ length: ranks }, (): { begin: number; end: number }[] => []);
  lengthsOf(batch).forEach((length, document) => {
    const first = batch.cuSeqlens[document];
    evenRanges(length, 2 * ranks).forEach(({ begin, end }, chunk) => {
      shards[Math.min(chunk, 2 * ranks - 1 - chunk)].push({ begin: first + begin, end: first + end });
    });
  });
  return layoutOf(shards);
}

/**
 * The shards that the option `shards` of a strategy names, of those that it has.
 *
 * @throws InputError if it names no such shards.
 */
export function namedShards(strategy: string, problem: Problem, ranks: number, name: unknown): Layout {
  if (name === "zigzag") return zigzagShards(problem, ranks);
  if (name === "zigzag-per-document") return zigzagShardsOfDocuments(problem, ranks);
  throw new InputError(`unknown shards: ${name} (${strategy} has zigzag and zigzag-per-document)`);
}

/** Cuts a shard in pieces whose sizes differ by at most one token, in order; a piece may have several ranges. */
export function dividedShard(shard: Shard, pieces: number): Layout {
  const tokens = shard.reduce((sum, { begin, end }) => sum + end - begin, 0);
  return layoutOf(
    evenRanges(tokens, pieces).map((piece) => {
      // Where each range begins if the shard's tokens are counted from 0.
      let first = 0;
      return shard.map(({ begin, end }) => {
        const shift = begin - first;
        first += end - begin;
        return { begin: Math.max(begin, piece.begin + shift), end: Math.min(end, piece.end + shift) };
      });
    }),
  );
}

/** The places of all shards but `place`, in order. */
export const otherPlaces = (shards: readonly unknown[], place: number): number[] =>
  shards.map((_, other) => other).filter((other) => other !== place);

/** The tiles of the queries of one shard against the keys of another, only those that hold an unmasked pair. */
export function shardTiles({ batch, mask }: Problem, queries: Shard, keys: Shard): Tile[] {
  const { cuSeqlens } = batch;
  return queries.flatMap((q) => {
    // Keys outside of the queries' documents need no look: a shard may have a range in each of thousands of documents.
    const end = cuSeqlens[documentAt(batch, q.end - 1) + 1];
    const tiles: Tile[] = [];
    for (let i = firstEndingAfter(keys, cuSeqlens[documentAt(batch, q.begin)]); i < keys.length; i++) {
      if (keys[i].begin >= end) break;
      tiles.push(...tilesBetween(batch, mask, q, keys[i]));
    }
    return tiles;
  });
}

/** The ranges of the shard in which some tile has keys. */
export function rangesWithKeysOf(tiles: readonly Tile[], shard: Shard): Shard {
  const reached = new Set<TokenRange>();
  for (const { kBegin, kEnd } of tiles) {
    for (let i = firstEndingAfter(shard, kBegin); i < shard.length && shard[i].begin < kEnd; i++) reached.add(shard[i]);
  }
  return shard.filter((range) => reached.has(range));
}

/** One block for each of `tensors` and each range of `shard`, of all heads unless `heads` says otherwise. */
export function shardBlocks(
  builder: ScheduleBuilder,
  tensors: readonly string[],
  shard: Shard,
  { heads, part }: { readonly heads?: HeadRange; readonly part?: number } = {},
): Block[] {
  return tensors.flatMap((tensor) =>
    shard.map((range) => builder.block(tensor, range, heads && headsOfTensor(builder, tensor, heads), part)),
  );
}

function headsOfTensor({ problem, tensors }: ScheduleBuilder, tensor: string, [begin, end]: HeadRange): HeadRange {
  if (tensors.find(({ name }) => name === tensor)?.heads === problem.shape.heads) return [begin, end];
  const groupSize = groupSizeOf(problem.shape);
  return [Math.floor(begin / groupSize), Math.ceil(end / groupSize)];
}

function firstEndingAfter(shard: Shard, token: number): number {
  let low = 0;
  let high = shard.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (shard[middle].end <= token) low = middle + 1;
    else high = middle;
  }
  return low;
}
