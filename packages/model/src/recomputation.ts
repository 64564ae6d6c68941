import type { ModelProblem } from "./model-problem.ts";

/**
 * What the backward pass computes again instead of finding it kept, as Korthikanti et al., "Reducing Activation Recomputation in Large
 * Transformer Models", arXiv 2205.05198, tell it apart:
 *
 * - `none`: nothing. All that the backward stage reads is an output of the forward stage.
 * - `selective`: what takes much memory and no matrix product: the normed rows n1 and n2, and the product m of the activation. Attention's
 *   probabilities, which the paper is about, are never kept: its kernels make them again from q, k and lse.
 * - `full`: a layer's input only is kept; its forward stage runs again before its backward stage, and leaves what `selective` keeps.
 *
 * Each is computed by the same op as before, so gradients have the same bits.
 */
export const recomputations = ["none", "selective", "full"] as const;
export type Recomputation = (typeof recomputations)[number];

/** Tensors of a layer that may be kept for its backward stage or made again by it. */
export const cheapTensors = ["n1", "n2", "m"] as const;
export type CheapTensor = (typeof cheapTensors)[number];

export const recomputationOf = ({ recompute = "selective" }: Pick<ModelProblem, "recompute">): Recomputation =>
  recompute;

/** What a layer's backward stage makes again. */
export const madeAgain = (problem: Pick<ModelProblem, "recompute">): readonly CheapTensor[] =>
  recomputationOf(problem) === "none" ? [] : cheapTensors;
