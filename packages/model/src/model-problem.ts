import type { Cluster } from "@hsap/cluster";
import { type AttentionShape, checkProblem, type Dtype, type Pass, type Problem } from "@hsap/schedule";
import type { PackedBatch } from "@hsap/workload";
import type { ReceivedKv } from "./kept-kv.ts";
import type { ModelShape } from "./presets.ts";
import type { Recomputation } from "./recomputation.ts";

/** What a layer strategy may look at: one step of a model on a packed batch. */
export interface ModelProblem {
  readonly model: ModelShape;
  readonly batch: PackedBatch;
  readonly cluster: Cluster;
  /** What activations and weights travel and lie as; sums are fp32. */
  readonly dtype: Dtype;
  /** Tokens whose logits are held at once. */
  readonly lossChunk: number;
  /** What the backward pass computes again; `selective` where left out. */
  readonly recompute?: Recomputation;
  /** What becomes of other ranks' keys and values between the passes; `fetch` where left out. */
  readonly receivedKv?: ReceivedKv;
  /** Sharded weights of the next layer are gathered while this one is computed; otherwise when they are needed. */
  readonly prefetch?: boolean;
  /** What tensor ranks gather and scatter travels in pieces beside the products of other pieces; otherwise before and after them. */
  readonly overlap?: boolean;
}

export const attentionShapeOf = ({ model, dtype }: Pick<ModelProblem, "model" | "dtype">): AttentionShape => ({
  heads: model.heads,
  kvHeads: model.kvHeads,
  headDim: model.headDim,
  dtype,
});

/** The attention inside of one layer, causal. */
export const attentionProblemOf = (problem: ModelProblem, pass: Pass): Problem =>
  checkProblem({
    batch: problem.batch,
    shape: attentionShapeOf(problem),
    cluster: problem.cluster,
    mask: "causal",
    pass,
  });
