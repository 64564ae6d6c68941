import { clusterOf } from "@hsap/cluster";
import { evenRanges, layoutOf, type Problem, type Schedule, ScheduleBuilder, tilesBetween } from "@hsap/schedule";
import { type PackedBatch, packedBatch, tokensOf } from "@hsap/workload";

export interface SampleOptions {
  readonly batch?: PackedBatch;
  readonly ranks?: number;
  readonly ranksPerNode?: number;
}

export const sampleBatch = packedBatch([700, 40, 1500, 3, 260, 900, 5, 420, 268]);

export function sampleProblem({ batch = sampleBatch, ranks = 8, ranksPerNode = 4 }: SampleOptions = {}): Problem {
  return {
    batch,
    shape: { heads: 8, kvHeads: 2, headDim: 64, dtype: "fp32" },
    cluster: clusterOf({ ranks, ranksPerNode }),
    mask: "causal",
    pass: "forward",
  };
}

/** Contiguous shards; every rank gathers the keys and values of each rank whose tokens its own attend to, one group each. */
export function sampleSchedule(options: SampleOptions = {}): Schedule {
  const problem = sampleProblem(options);
  const { batch, mask, cluster } = problem;
  const shards = evenRanges(tokensOf(batch), cluster.ranks);
  const builder = new ScheduleBuilder(
    problem,
    "sample",
    { ring: cluster.ranks },
    layoutOf(shards.map((shard) => [shard])),
  );
  const kv = (rank: number) => ["k", "v"].map((tensor) => builder.block(tensor, shards[rank]));
  const needs = (rank: number, other: number) => tilesBetween(batch, mask, shards[rank], shards[other]).length > 0;
  for (let distance = 0; distance < cluster.ranks; distance++) {
    shards.forEach((shard, rank) => {
      const program = builder.rank(rank);
      const source = rank - distance;
      const target = rank + distance;
      if (distance > 0) {
        program.exchange("p2p", [
          ...(target < cluster.ranks && needs(target, rank) ? [{ to: target, blocks: kv(rank) }] : []),
          ...(source >= 0 && needs(rank, source) ? [{ from: source, blocks: kv(source) }] : []),
        ]);
      }
      if (source >= 0) for (const tile of tilesBetween(batch, mask, shard, shards[source])) program.attend(tile);
    });
  }
  return builder.finish();
}
