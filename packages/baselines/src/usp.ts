import { ranksPerNode } from "@hsap/cluster";
import { type Degrees, type Layout, type Problem, ranksOf, ScheduleBuilder, type Strategy } from "@hsap/schedule";
import { checkedDegrees } from "./degrees.ts";
import { fp32Gradients, gradientTensors } from "./published-behaviour.ts";
import { attendRound, type Ring } from "./ring.ts";
import { dividedShard, namedShards, type Shard } from "./shard.ts";
import {
  checkHeadSplit,
  exchangeIn,
  exchangeOut,
  gradientPart,
  type HeadGroup,
  headGroup,
  headSplitRefusal,
} from "./ulysses.ts";

/**
 * Unified sequence parallelism: Fang and Zhao, "USP: A Unified Sequence Parallelism Approach for Long Context Generative AI",
 * arXiv 2405.07719 (also Megatron's `a2a+p2p`).
 *
 * Sharding: P = Pu * Pr; Pu neighbours form a Ulysses group. The pack is cut in 2 Pr chunks, group i owns chunks i and
 * 2 Pr - 1 - i, and each of its ranks a contiguous 1/Pu of them.
 * Forward: an all-to-all inside each group turns sequence shards into head shards; the ranks with the same heads, one of each
 * group, pass keys and values round a ring; an all-to-all brings the outputs back.
 * Backward: likewise; q, k, v, lse and delta lie as heads from the forward pass, as in `ulysses.ts`.
 * Volume: forward (Pu-1)/Pu * (QO + KV) / P + (Pr-1)/Pr * KV / Pu; backward the same with twice the ring's part.
 * Memory: 1/Pu of the heads of a group's sequence, and two such pieces of keys and values.
 * Balance: between the groups as zigzag, inside them perfect.
 * Constraints: those of `ulysses.ts` for Pu.
 */
export const usp: Strategy = {
  name: "usp",
  summary: "Ulysses among neighbours, zigzag ring attention between their groups.",
  citation: "Fang and Zhao, USP, arXiv 2405.07719",
  degreeNames: ["ulysses", "ring"],
  defaultDegrees: (problem) => {
    const ulysses = widestHeadSplit(problem);
    return { ulysses, ring: ranksOf(problem) / ulysses };
  },
  candidateDegrees: (problem) =>
    headSplits(problem).map((ulysses): Degrees => ({ ulysses, ring: ranksOf(problem) / ulysses })),

  options: {
    shards: {
      summary: "zigzag: groups own chunks of the whole pack; zigzag-per-document: chunks of each document",
      default: "zigzag",
    },
    fp32Gradients,
  },

  compile(problem, degrees, options = {}) {
    const { shards = "zigzag" } = options;
    const checked = checkedDegrees(usp, problem, degrees);
    checkHeadSplit("usp", problem, checked.ulysses);
    const ofPlaces = namedShards("usp", problem, checked.ring, shards);
    const groups = headGroups(problem, ofPlaces, (place, member) => place * checked.ulysses + member);
    const builder = new ScheduleBuilder(
      problem,
      "usp",
      checked,
      layoutOfGroups(groups),
      gradientTensors(problem, options),
    );
    attendInGroups(builder, groups, (ring) => attendRound(builder, ring));
    return builder.finish();
  },
};

/** Divides the shards of ring places among the ranks `rankAt(place, member)` of as many Ulysses groups. */
export function headGroups(
  problem: Problem,
  places: readonly Shard[],
  rankAt: (place: number, member: number) => number,
): HeadGroup[] {
  const members = ranksOf(problem) / places.length;
  return places.map((shard, place) =>
    headGroup(problem, {
      ranks: Array.from({ length: members }, (_, member) => rankAt(place, member)),
      shards: dividedShard(shard, members),
    }),
  );
}

/** What each rank owns outside of attention. */
export function layoutOfGroups(groups: readonly HeadGroup[]): Layout {
  const layout: Layout[number][] = [];
  for (const { ranks, shards } of groups) {
    ranks.forEach((rank, member) => {
      layout[rank] = shards[member];
    });
  }
  return layout;
}

/** Exchanges heads for sequence in each group, lets `attend` work on the ring of every member, and exchanges back. */
export function attendInGroups(
  builder: ScheduleBuilder,
  groups: readonly HeadGroup[],
  attend: (ring: Ring) => void,
): void {
  for (const group of groups) exchangeIn(builder, group);
  groups[0].heads.forEach((heads, member) => {
    attend({
      ranks: groups.map(({ ranks }) => ranks[member]),
      shards: groups.map(({ sequence }) => sequence),
      heads,
      homeParts: groups.map((group) => gradientPart(group, group.ranks[member])),
    });
  });
  for (const group of groups) exchangeOut(builder, group);
}

/** The Ulysses degrees that divide the ranks and can split the heads. */
export const headSplits = (problem: Problem): number[] =>
  divisorsOf(ranksOf(problem)).filter((degree) => headSplitRefusal(problem, degree) === undefined);

/** The largest of them inside one node that needs no kv head twice, as the published systems are run. */
export const widestHeadSplit = (problem: Problem): number =>
  Math.max(
    ...headSplits(problem).filter(
      (degree) => degree <= ranksPerNode(problem.cluster) && problem.shape.kvHeads % degree === 0,
    ),
  );

export const divisorsOf = (count: number): number[] =>
  Array.from({ length: count }, (_, i) => i + 1).filter((divisor) => count % divisor === 0);
