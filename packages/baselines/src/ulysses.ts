import { layoutOf, type Problem, ranksOf, ScheduleBuilder, type Strategy } from "@hsap/schedule";
import { InputError } from "@hsap/workload";
import { checkedDegrees } from "./degrees.ts";
import { contiguousShards, type HeadRange, otherPlaces, type Shard, shardBlocks, shardTiles } from "./shard.ts";

/**
 * DeepSpeed-Ulysses: Jacobs et al., "DeepSpeed Ulysses: System Optimizations for Enabling Training of Extreme Long
 * Sequence Transformer Models", arXiv 2309.14509.
 *
 * Sharding: contiguous pieces of the sequence outside of attention; inside, rank r has the r-th of P equal ranges of heads,
 * of the whole sequence. An all-to-all before and one after change between the two.
 * Forward: q, k and v go in, o comes out; lse stays as heads. Backward: do goes in, dq, dk and dv come out; q, k, v and lse
 * were kept as heads from the forward pass, and delta is made of o and do there.
 * Volume: (P-1)/P * (QO + KV) / P, forward and backward alike.
 * Memory: 1/P of the heads of the whole sequence: as much as 1/P of the sequence.
 * Balance: perfect, whatever the documents.
 * Constraints: P divides the heads, and P divides the kv heads, or is a multiple of them: then every kv head is replicated on
 * P/kvHeads ranks, KV counts P/kvHeads times in the volume, and the owner adds up its replicas' gradients.
 */
export const ulysses: Strategy = {
  name: "ulysses",
  summary: "All-to-all from sequence shards to head shards before attention, and back after it.",
  citation: "Jacobs et al., DeepSpeed Ulysses, arXiv 2309.14509",
  degreeNames: ["ulysses"],
  defaultDegrees: (problem) => ({ ulysses: ranksOf(problem) }),
  candidateDegrees: (problem) =>
    headSplitRefusal(problem, ranksOf(problem)) === undefined ? [{ ulysses: ranksOf(problem) }] : [],

  compile(problem, degrees) {
    const checked = checkedDegrees(ulysses, problem, degrees);
    checkHeadSplit("ulysses", problem, checked.ulysses);
    const shards = contiguousShards(problem, checked.ulysses);
    const builder = new ScheduleBuilder(problem, "ulysses", checked, shards);
    const group = headGroup(problem, { ranks: shards.map((_, rank) => rank), shards });
    exchangeIn(builder, group);
    group.ranks.forEach((rank, place) => {
      const [headBegin, headEnd] = group.heads[place];
      const kvPart = gradientPart(group, rank);
      for (const tile of shardTiles(problem, group.sequence, group.sequence)) {
        builder.rank(rank).attend(tile, { headBegin, headEnd, kvPart });
      }
    });
    exchangeOut(builder, group);
    return builder.finish();
  },
};

/** Ranks that split the heads of what they own together. */
export interface HeadGroup {
  readonly ranks: readonly number[];
  /** What each of them owns outside of attention. */
  readonly shards: readonly Shard[];
  /** All of it: what each has inside of attention. */
  readonly sequence: Shard;
  /** The query heads that each has inside of attention. */
  readonly heads: readonly HeadRange[];
  /** Whether several of them have the same kv head. */
  readonly replicated: boolean;
}

export function headGroup(
  { shape }: Problem,
  { ranks, shards }: { readonly ranks: readonly number[]; readonly shards: readonly Shard[] },
): HeadGroup {
  const perRank = shape.heads / ranks.length;
  return {
    ranks,
    shards,
    sequence: layoutOf([shards.flat()])[0],
    heads: ranks.map((_, place) => [place * perRank, (place + 1) * perRank] as const),
    replicated: ranks.length > shape.kvHeads,
  };
}

/** The part in which `rank` gathers dk and dv: replicas of a kv head each have a share of its gradient. */
export const gradientPart = ({ replicated }: HeadGroup, rank: number): number => (replicated ? 1 + rank : 0);

/** Brings what attention reads from sequence shards to head shards, but for what lies there from the forward pass. */
export function exchangeIn(builder: ScheduleBuilder, group: HeadGroup): void {
  const { ranks, shards, heads, sequence } = group;
  const backward = builder.problem.pass === "backward";
  const names = backward ? ["do"] : ["q", "k", "v"];
  ranks.forEach((rank, place) => {
    const program = builder.rank(rank);
    if (ranks.length > 1) {
      const kept = backward ? ["q", "k", "v", "lse", "delta"] : ["lse"];
      program.hold(...shardBlocks(builder, kept, sequence, { heads: heads[place] }));
    }
    program.exchange(
      "allToAll",
      otherPlaces(shards, place).flatMap((there) => [
        { to: ranks[there], blocks: shardBlocks(builder, names, shards[place], { heads: heads[there] }) },
        { from: ranks[there], blocks: shardBlocks(builder, names, shards[there], { heads: heads[place] }) },
      ]),
    );
  });
}

/** Brings what attention made from head shards back to the owners of the sequence. */
export function exchangeOut(builder: ScheduleBuilder, group: HeadGroup): void {
  const { ranks, shards, heads, replicated } = group;
  const backward = builder.problem.pass === "backward";
  const made = (place: number, shard: Shard) => [
    ...shardBlocks(builder, backward ? ["dq"] : ["o"], shard, { heads: heads[place] }),
    ...(backward ? gradients(place, shard) : []),
  ];
  const gradients = (place: number, shard: Shard) =>
    shardBlocks(builder, ["dk", "dv"], shard, { heads: heads[place], part: gradientPart(group, ranks[place]) });
  ranks.forEach((rank, place) => {
    const program = builder.rank(rank);
    program.exchange(
      "allToAll",
      otherPlaces(shards, place).flatMap((there) => [
        { to: ranks[there], blocks: made(place, shards[there]) },
        { from: ranks[there], blocks: made(there, shards[place]) },
      ]),
    );
    if (!backward || !replicated) return;
    ranks.forEach((_, there) => {
      for (const share of gradients(there, shards[place])) program.reduce({ ...share, part: 0 }, share);
    });
  });
}

/** @throws InputError, in the terms of `strategy`, if `degree` ranks cannot split the heads of the problem. */
export function checkHeadSplit(strategy: string, problem: Problem, degree: number): void {
  const refusal = headSplitRefusal(problem, degree);
  if (refusal !== undefined)
    throw new InputError(`invalid degree: ulysses=${degree} (${strategy} splits heads: ${refusal})`);
}

/** Why `degree` ranks cannot split the heads, if so. */
export function headSplitRefusal({ shape: { heads, kvHeads } }: Problem, degree: number): string | undefined {
  if (heads % degree !== 0) return `must divide ${heads} heads`;
  if (kvHeads % degree !== 0 && degree % kvHeads !== 0)
    return `must divide ${kvHeads} kv heads or be a multiple of them`;
  return undefined;
}
