import { type Block, groupSizeOf, ranksOf, ScheduleBuilder, type Strategy } from "@hsap/schedule";
import { InputError, tokensOf } from "@hsap/workload";
import { checkedDegrees } from "./degrees.ts";
import { contiguousShards, otherPlaces, type Shard, shardBlocks, shardTiles } from "./shard.ts";
import { headSplitRefusal } from "./ulysses.ts";

/**
 * The attention of Megatron-LM by itself: what its tensor parallelism with sequence parallelism moves and computes between the
 * projections of a layer. Korthikanti et al., "Reducing Activation Recomputation in Large Transformer Models", arXiv 2205.05198;
 * Shoeybi et al., arXiv 1909.08053. `megatron` is the strategy for whole layers.
 *
 * Sharding: contiguous pieces of the sequence outside, 1/P of the heads of the whole sequence inside.
 * What stands for what: attention has no weights here, so q, which is as wide as the hidden rows, stands for the rows that are
 * gathered, and k and v of a rank's own heads are there, as its projection makes them of those rows. The output projection of a
 * rank's heads makes a partial sum of whole hidden rows; here that is a partial o of all heads, empty but for the rank's own.
 * Forward: an all-gather of the rows before, a reduce-scatter of the partial sums after. Backward: an all-gather of do, a
 * reduce-scatter of dq; q, k, v, lse and delta were kept as heads. The rows that are gathered once more for the gradients of
 * the weights are left out, as there are none.
 * Volume: 2 (P-1)/P * N*hidden*e, forward and backward, with hidden = heads * headDim. Partial sums travel in the dtype of
 * o. Forward, they bring their log-sum-exp of 4 bytes for each token and head, without which partial o cannot be added. Backward,
 * where several ranks have the same kv head, the owner of a row gets their shares of dk and dv: (P-1)/P * KV / kvHeads.
 * Memory: the gathered rows and the partial sums of all heads of the whole sequence.
 * Balance: perfect, whatever the documents.
 * Constraints: as Ulysses: P divides the heads, and divides the kv heads or is a multiple of them.
 */
export const megatronAttention: Strategy = {
  name: "megatron-attention",
  summary: "Heads split; all-gather of hidden rows before attention, reduce-scatter of their partial sums after it.",
  citation: "Korthikanti et al., Reducing Activation Recomputation in Large Transformer Models, arXiv 2205.05198",
  degreeNames: ["tensor"],
  defaultDegrees: (problem) => ({ tensor: ranksOf(problem) }),
  candidateDegrees: (problem) =>
    headSplitRefusal(problem, ranksOf(problem)) === undefined ? [{ tensor: ranksOf(problem) }] : [],

  compile(problem, degrees) {
    const { tensor } = checkedDegrees(megatronAttention, problem, degrees);
    const refusal = headSplitRefusal(problem, tensor);
    if (refusal !== undefined)
      throw new InputError(`invalid degree: tensor=${tensor} (megatron-attention splits heads: ${refusal})`);
    const shards = contiguousShards(problem, tensor);
    const builder = new ScheduleBuilder(problem, "megatron-attention", { tensor }, shards);
    shards.forEach((_, rank) => {
      new Seat(builder, shards, rank).write();
    });
    return builder.finish();
  },
};

/** One rank's program. */
class Seat {
  readonly #sequence: Shard;
  readonly #heads: readonly [number, number];
  readonly #backward: boolean;
  /** Whether other ranks have its kv head as well. */
  readonly #replicated: boolean;

  constructor(
    readonly builder: ScheduleBuilder,
    readonly shards: readonly Shard[],
    readonly rank: number,
  ) {
    const { problem } = builder;
    const perRank = problem.shape.heads / shards.length;
    this.#sequence = [{ begin: 0, end: tokensOf(problem.batch) }];
    this.#heads = [rank * perRank, (rank + 1) * perRank];
    this.#backward = problem.pass === "backward";
    this.#replicated = shards.length > problem.shape.kvHeads;
  }

  write(): void {
    const { builder, shards, rank } = this;
    const program = builder.rank(rank);
    if (shards.length > 1) program.hold(...this.#kept());
    this.#gatherRows();
    // A partial sum is of whole rows, empty where other ranks have the heads.
    for (const share of this.#partialRows(rank, this.#sequence)) program.reduce(share);
    const [headBegin, headEnd] = this.#heads;
    const kvPart = this.#replicated ? 1 + rank : 0;
    for (const tile of shardTiles(builder.problem, this.#sequence, this.#sequence))
      program.attend(tile, { headBegin, headEnd, part: 1 + rank, kvPart });
    this.#scatterSums();
  }

  /** What lies with the rank as heads: made there by its projections, or kept from the forward pass; and what stays there. */
  #kept(): Block[] {
    const heads = { heads: this.#heads };
    const inputs = this.#backward ? ["q", "k", "v", "lse", "delta"] : ["k", "v"];
    const outputs = this.#backward && !this.#replicated ? ["dk", "dv"] : [];
    return shardBlocks(this.builder, [...inputs, ...outputs], this.#sequence, heads);
  }

  #gatherRows(): void {
    const rows = (owner: number) => shardBlocks(this.builder, [this.#backward ? "do" : "q"], this.shards[owner]);
    this.builder.rank(this.rank).exchange(
      "allGather",
      otherPlaces(this.shards, this.rank).flatMap((other) => [
        { to: other, blocks: rows(this.rank) },
        { from: other, blocks: rows(other) },
      ]),
    );
  }

  #scatterSums(): void {
    const { builder, shards, rank } = this;
    const program = builder.rank(rank);
    const sums = (of: number, owner: number) => [
      ...this.#partialRows(of, shards[owner]),
      ...this.#gradientShares(of, shards[owner]),
    ];
    program.exchange(
      "reduceScatter",
      otherPlaces(shards, rank).flatMap((other) => [
        { to: other, blocks: sums(rank, other) },
        { from: other, blocks: sums(other, rank) },
      ]),
    );
    const own = shards[rank];
    const partials = shards.map((_, of) => this.#partialRows(of, own));
    if (this.#backward) {
      shardBlocks(builder, ["dq"], own).forEach((target, i) => {
        program.reduce(target, ...partials.map((blocks) => blocks[i]));
      });
      for (const share of shards.flatMap((_, of) => this.#gradientShares(of, own)))
        program.reduce({ ...share, part: 0 }, share);
    } else if (own.length > 0) {
      program.merge([...shardBlocks(builder, ["o", "lse"], own), ...partials.flat()]);
    }
  }

  /** Partial sums of `rank` for the rows of a shard, of all heads. */
  #partialRows(rank: number, shard: Shard): Block[] {
    return shardBlocks(this.builder, this.#backward ? ["dq"] : ["o", "lse"], shard, { part: 1 + rank });
  }

  /** The shares of dk and dv that `rank` has of the rows of a shard, if it shares its kv head with others. */
  #gradientShares(rank: number, shard: Shard): Block[] {
    if (!this.#backward || !this.#replicated) return [];
    const { shape } = this.builder.problem;
    const perRank = shape.heads / this.shards.length;
    const kvHead = Math.floor((rank * perRank) / groupSizeOf(shape));
    return ["dk", "dv"].flatMap((tensor) =>
      shard.map((range) => this.builder.block(tensor, range, [kvHead, kvHead + 1], 1 + rank)),
    );
  }
}
