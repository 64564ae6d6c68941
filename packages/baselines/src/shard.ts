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
import { tokensOf } from "@hsap/workload";

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

export const tokensOfShard = (shard: Shard): number => shard.reduce((sum, { begin, end }) => sum + end - begin, 0);

/** The tiles of the queries of one shard against the keys of another, only those that hold an unmasked pair. */
export const shardTiles = ({ batch, mask }: Problem, queries: Shard, keys: Shard): Tile[] =>
  queries.flatMap((q) => keys.flatMap((k) => tilesBetween(batch, mask, q, k)));

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
