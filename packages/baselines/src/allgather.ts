import { type Problem, ranksOf, ScheduleBuilder, type Strategy, type StrategyOptions } from "@hsap/schedule";
import { InputError, tokensOf } from "@hsap/workload";
import { checkedDegrees } from "./degrees.ts";
import {
  contiguousShards,
  otherPlaces,
  type Shard,
  shardBlocks,
  shardTiles,
  zigzagShards,
  zigzagShardsOfDocuments,
} from "./shard.ts";

/**
 * Context parallelism by all-gather: Llama Team, "The Llama 3 Herd of Models", arXiv 2407.21783, section 3.3.2; also
 * `llama3_flash_attn_varlen` of the public ring-flash-attention project, which shards contiguously.
 *
 * Sharding: the pack is cut in 2P chunks, rank r owns chunks r and 2P-1-r (`shards=zigzag`), or P pieces (`shards=contiguous`).
 * Forward: one all-gather brings all keys and values to every rank, which then attends without further exchange.
 * Backward: keys and values are gathered again; a reduce-scatter brings the shares of their gradients to the owners.
 * Volume: forward (P-1)/P * KV in one all-gather; backward all-gather and reduce-scatter, 2(P-1)/P * KV.
 * Memory: all keys and values on every rank, in the backward pass with all their gradients in fp32.
 * Balance: with 2P chunks exact on one causal document, lost on packs; contiguous as ring.
 * Constraints: none; exact for arbitrary documents.
 */
export const allgather: Strategy = {
  name: "allgather",
  summary: "One all-gather of all keys and values before attention, a reduce-scatter of their gradients after it.",
  citation: "Llama Team, The Llama 3 Herd of Models, arXiv 2407.21783",
  degreeNames: ["allgather"],
  defaultDegrees: (problem) => ({ allgather: ranksOf(problem) }),
  candidateDegrees: (problem) => [{ allgather: ranksOf(problem) }],
  options: {
    shards: {
      summary:
        "zigzag: two of 2P chunks for each rank; zigzag-per-document: the same of each document; contiguous: one of P pieces",
      default: "zigzag",
    },
  },

  compile(problem, degrees, options) {
    const checked = checkedDegrees(allgather, problem, degrees);
    const shards = shardsOf(problem, checked.allgather, options);
    const builder = new ScheduleBuilder(problem, "allgather", checked, shards);
    const sequence = [{ begin: 0, end: tokensOf(problem.batch) }];
    shards.forEach((shard, rank) => {
      gatherKeysAndValues(builder, shards, rank);
      const part = 1 + rank;
      if (problem.pass === "backward") {
        // A rank's share of all gradients is whole, also where none of its queries attends.
        for (const share of shardBlocks(builder, ["dk", "dv"], sequence, { part })) builder.rank(rank).reduce(share);
      }
      for (const tile of shardTiles(problem, shard, sequence)) builder.rank(rank).attend(tile, { kvPart: part });
      if (problem.pass === "backward") scatterGradients(builder, shards, rank);
    });
    return builder.finish();
  },
};

function shardsOf(problem: Problem, ranks: number, { shards = "zigzag" }: StrategyOptions = {}): readonly Shard[] {
  if (shards === "zigzag") return zigzagShards(problem, ranks);
  if (shards === "zigzag-per-document") return zigzagShardsOfDocuments(problem, ranks);
  if (shards === "contiguous") return contiguousShards(problem, ranks);
  throw new InputError(`unknown shards: ${shards} (allgather has zigzag, zigzag-per-document and contiguous)`);
}

function gatherKeysAndValues(builder: ScheduleBuilder, shards: readonly Shard[], rank: number): void {
  const kv = (owner: number) => shardBlocks(builder, ["k", "v"], shards[owner]);
  builder.rank(rank).exchange(
    "allGather",
    otherPlaces(shards, rank).flatMap((other) => [
      { to: other, blocks: kv(rank) },
      { from: other, blocks: kv(other) },
    ]),
  );
}

function scatterGradients(builder: ScheduleBuilder, shards: readonly Shard[], rank: number): void {
  const program = builder.rank(rank);
  const share = (of: number, owner: number) => shardBlocks(builder, ["dk", "dv"], shards[owner], { part: 1 + of });
  program.exchange(
    "reduceScatter",
    otherPlaces(shards, rank).flatMap((other) => [
      { to: other, blocks: share(rank, other) },
      { from: other, blocks: share(other, rank) },
    ]),
  );
  const shares = shards.map((_, of) => share(of, rank));
  shardBlocks(builder, ["dk", "dv"], shards[rank]).forEach((target, i) => {
    program.reduce(target, ...shares.map((blocks) => blocks[i]));
  });
}
