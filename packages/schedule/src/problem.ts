import { type Cluster, worldSize } from "@hsap/cluster";
import { InputError, lengthsOf, type PackedBatch, tokensOf } from "@hsap/workload";

export type Dtype = "fp32" | "bf16";

/** Which pairs inside one document attend: `causal` keys up to the query, `full` all of them. Never a pair across documents. */
export type Mask = "causal" | "full";

export type Pass = "forward" | "backward";

/** Heads of one attention layer. Query head `h` reads kv head `floor(h * kvHeads / heads)` (grouped-query attention). */
export interface AttentionShape {
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly dtype: Dtype;
}

/** Everything a strategy may look at. Equal problems give equal schedules, on every rank and machine. */
export interface Problem {
  readonly batch: PackedBatch;
  readonly shape: AttentionShape;
  readonly cluster: Cluster;
  readonly mask: Mask;
  readonly pass: Pass;
}

export const bytesPerElement: Readonly<Record<Dtype, number>> = { fp32: 4, bf16: 2 };

/** Returns `problem` unchanged, or throws an InputError naming the first value that no strategy could work with. */
export function checkProblem(problem: Problem): Problem {
  const { heads, kvHeads, headDim, dtype } = problem.shape;
  for (const [name, value] of Object.entries({ heads, kvHeads, headDim })) {
    if (!Number.isInteger(value) || value < 1)
      throw new InputError(`invalid ${name}: ${value} (must be a positive integer)`);
    if (value > 65535) throw new InputError(`invalid ${name}: ${value} (must be at most 65535)`);
  }
  if (heads % kvHeads !== 0) throw new InputError(`invalid kvHeads: ${kvHeads} (must divide heads ${heads})`);
  if (!(dtype in bytesPerElement)) throw new InputError(`unknown dtype: ${dtype} (must be fp32 or bf16)`);
  if (problem.mask !== "causal" && problem.mask !== "full") {
    throw new InputError(`unknown mask: ${problem.mask} (must be causal or full)`);
  }
  if (problem.pass !== "forward" && problem.pass !== "backward") {
    throw new InputError(`unknown pass: ${problem.pass} (must be forward or backward)`);
  }
  return problem;
}

export const ranksOf = (problem: Problem): number => worldSize(problem.cluster);

/** Query heads that share one kv head. */
export const groupSizeOf = (shape: AttentionShape): number => shape.heads / shape.kvHeads;

/** Unmasked (query, key) pairs of the whole batch, one head. Exact: every sum stays below 2^53. */
export function areaOf(problem: Problem): number {
  let area = 0;
  for (const length of lengthsOf(problem.batch)) {
    area += problem.mask === "causal" ? (length * (length + 1)) / 2 : length * length;
  }
  return area;
}

/** Floating-point operations of the pass: forward `4 * area * heads * headDim`, backward 2.5 times that (FlashAttention's convention). */
export const flopsOf = (problem: Problem): number =>
  4 * areaOf(problem) * problem.shape.heads * problem.shape.headDim * (problem.pass === "forward" ? 1 : 2.5);

/** Bytes of all keys and values: `2 * tokens * kvHeads * headDim * bytesPerElement`. */
export const kvBytesOf = ({ batch, shape }: Problem): number =>
  2 * tokensOf(batch) * shape.kvHeads * shape.headDim * bytesPerElement[shape.dtype];

/** Bytes of all queries and outputs: `2 * tokens * heads * headDim * bytesPerElement`. */
export const qoBytesOf = ({ batch, shape }: Problem): number =>
  2 * tokensOf(batch) * shape.heads * shape.headDim * bytesPerElement[shape.dtype];
