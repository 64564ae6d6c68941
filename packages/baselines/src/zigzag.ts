import { ranksOf, ScheduleBuilder, type Strategy } from "@hsap/schedule";
import { checkedDegrees } from "./degrees.ts";
import { gradientTensors, ignoreBorders, publishedFp32Gradients, tiledProblem } from "./published-behaviour.ts";
import { attendRound, wholeRing } from "./ring.ts";
import { zigzagShards } from "./shard.ts";

/**
 * Zigzag ring attention, as made known by the public ring-flash-attention project and by Megatron's context parallelism
 * (point-to-point form): the ring of `ring.ts` over a sharding that balances the causal mask of one document.
 *
 * Sharding: the whole pack is cut in 2P chunks; rank r owns chunks r and 2P-1-r.
 * Volume: forward (P-1)/P * KV; backward 2(P-1)/P * KV, as ring.
 * Memory: as ring.
 * Balance: exact on one causal document of 2P equal chunks: each rank has 2P+1 of the 2P(2P+1)/2 chunk tiles' pairs. On a
 * pack of many documents the late chunk is no longer more work than the early one, and the balance is lost.
 * Constraints: none; chunks differ by at most one token where 2P does not divide the pack. `ignoreBorders=true` and
 * `fp32Gradients=true` as for ring; without borders a pack is one causal document, and balanced.
 */
export const zigzag: Strategy = {
  name: "zigzag",
  summary: "Ring attention over 2P chunks of the whole pack, rank r owning an early and a late one.",
  citation: "ring-flash-attention (zhuzilin), Megatron-LM context parallelism",
  degreeNames: ["ring"],
  defaultDegrees: (problem) => ({ ring: ranksOf(problem) }),
  candidateDegrees: (problem) => [{ ring: ranksOf(problem) }],
  options: { ignoreBorders, fp32Gradients: publishedFp32Gradients },

  compile(problem, degrees, options) {
    const checked = checkedDegrees(zigzag, problem, degrees);
    const shards = zigzagShards(problem, checked.ring);
    const tiled = tiledProblem(problem, options);
    const builder = new ScheduleBuilder(tiled, "zigzag", checked, shards, gradientTensors(problem, options));
    attendRound(builder, wholeRing(problem, shards));
    return { ...builder.finish(), problem };
  },
};
