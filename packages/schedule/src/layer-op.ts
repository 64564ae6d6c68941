import type { Block } from "./block.ts";

/**
 * The ops of a transformer layer around attention: for each kind, how many blocks it reads and how many it writes, in this order.
 * An op adds to a target that accumulates (rows absent before start with 0) and sets one that does not. See docs/layer.md.
 */
export const layerOpShapes = {
  /** x, w -> y: y += x w. The columns of x, head * width + column, are rows of w; heads and width of y are those of w. */
  linear: { reads: 2, writes: 1 },
  /** dy, w -> dx: dx += dy w' */
  linearInputGradient: { reads: 2, writes: 1 },
  /** x, dy -> dw: dw += x' dy */
  linearWeightGradient: { reads: 2, writes: 1 },
  /** x, g -> n: n = x / sqrt(mean(x^2) + normEpsilon) * g, over whole rows. g has a row for each column of x. */
  rmsNorm: { reads: 2, writes: 1 },
  /** x, g, dn -> dx, dg */
  rmsNormGradient: { reads: 3, writes: 2 },
  /** x -> y: column pairs (i, i + width / 2) of each head turned by position / rotaryBase^(2 i / width); positions restart per document. */
  rotary: { reads: 1, writes: 1 },
  /** dy -> dx: turned back. */
  rotaryGradient: { reads: 1, writes: 1 },
  /** gate, up -> m: m = gate / (1 + exp(-gate)) * up */
  swiglu: { reads: 2, writes: 1 },
  /** gate, up, dm -> dgate, dup */
  swigluGradient: { reads: 3, writes: 2 },
  /** x -> y: y += x */
  add: { reads: 1, writes: 1 },
  /** a, b -> d: d = sum of a * b over the columns of each head. */
  rowDot: { reads: 2, writes: 1 },
  /** ids, e -> y: y += the row of e that each id names; 0 for ids beyond the rows of the block. */
  embed: { reads: 2, writes: 1 },
  /** ids, dy -> de: each row of dy is added to the row of de that its id names, if the block has it. */
  embedGradient: { reads: 2, writes: 1 },
  /**
   * logits, labels -> loss, dlogits. A label is a pair (id, weight): loss = weight * (log-sum-exp of the row - logit of id),
   * dlogits its gradient. A weight of 0 masks a token.
   */
  crossEntropy: { reads: 2, writes: 2 },
  /** x -> z: z = log of the sum of the exponentials of each column group. */
  rowLogSumExp: { reads: 1, writes: 1 },
  /**
   * logits, labels, z -> loss, dlogits: cross-entropy by those that have some columns of the logits each (Megatron's vocabulary-parallel
   * head, arXiv 1909.08053): z is the log-sum-exp of all column groups. Each adds to the loss what its columns take from it; whoever has
   * the first ones adds weight * log-sum-exp besides.
   */
  splitCrossEntropy: { reads: 3, writes: 2 },
} as const;

export type LayerOpKind = keyof typeof layerOpShapes;

/** Any op of a layer: the blocks read, then the blocks written. */
export interface LayerOp {
  readonly kind: LayerOpKind;
  readonly blocks: readonly Block[];
}

/** Codes follow those of attention's ops in this order. Append only. */
export const layerOpKinds = Object.keys(layerOpShapes) as LayerOpKind[];

export const isLayerOp = (kind: string): kind is LayerOpKind => Object.hasOwn(layerOpShapes, kind);

/** Added to the mean square of a row before its root, as in Llama. */
export const normEpsilon = 1e-5;

/** Base of the rotary frequencies, Su et al., arXiv 2104.09864. */
export const rotaryBase = 10000;
