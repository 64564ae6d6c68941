import { ranksOf, ScheduleBuilder, type Strategy } from "@hsap/schedule";
import { InputError } from "@hsap/workload";
import { contiguousShards, shardTiles } from "./shard.ts";

/**
 * Attention on one rank: what every other strategy must agree with.
 *
 * Sharding: none. Volume: 0. Memory: everything. Constraints: 1 rank.
 * Forward and backward: one tile for each document.
 */
export const reference: Strategy = {
  name: "reference",
  summary: "Non-parallel attention on one rank, one tile for each document.",
  citation: "Vaswani et al., Attention Is All You Need, arXiv 1706.03762",
  degreeNames: [],
  defaultDegrees: () => ({}),
  candidateDegrees: (problem) => (ranksOf(problem) === 1 ? [{}] : []),

  compile(problem) {
    if (ranksOf(problem) !== 1) throw new InputError(`invalid ranks: ${ranksOf(problem)} (reference runs on 1 rank)`);
    const layout = contiguousShards(problem, 1);
    const builder = new ScheduleBuilder(problem, "reference", {}, layout);
    for (const tile of shardTiles(problem, layout[0], layout[0])) builder.rank(0).attend(tile);
    return builder.finish();
  },
};
