import { clusterOf } from "@hsap/cluster";
import type { AttentionShape, Mask, Pass, Problem } from "@hsap/schedule";
import { packedBatch } from "@hsap/workload";

export interface ProblemOptions {
  readonly lengths: readonly number[];
  readonly ranks: number;
  readonly ranksPerNode: number;
  readonly shape?: Partial<AttentionShape>;
  readonly mask?: Mask;
  readonly pass?: Pass;
}

/** A small problem with everything that a test does not care about filled in. */
export function problemOf({
  lengths,
  ranks,
  ranksPerNode,
  shape,
  mask = "causal",
  pass = "forward",
}: ProblemOptions): Problem {
  return {
    batch: packedBatch(lengths),
    shape: { heads: 4, kvHeads: 2, headDim: 8, dtype: "fp32", ...shape },
    cluster: clusterOf({ ranks, ranksPerNode }),
    mask,
    pass,
  };
}
