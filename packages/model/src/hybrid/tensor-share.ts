import { ffnGroups, type ModelShape } from "../presets.ts";
import type { HeadRange } from "../spliced-attention.ts";
import type { WeightName } from "../stage.ts";

/** What a tensor rank has of a weight: some column groups, or some rows. */
export interface TensorShare {
  readonly heads?: HeadRange;
  readonly rows?: HeadRange;
}

/**
 * A tensor rank's share of a weight (Shoeybi et al., Megatron-LM, arXiv 1909.08053): columns of the first matrices of both parts of a
 * layer, rows of the second ones; of the embedding the rows and of the head the columns of some of the vocabulary. Nothing where the weight is not split, or there is one rank only.
 */
export function tensorShare(
  model: ModelShape,
  weight: WeightName,
  tensor: number,
  column: number,
): TensorShare | undefined {
  if (tensor === 1) return undefined;
  const part = (count: number, width = 1): HeadRange => [
    (count / tensor) * width * column,
    (count / tensor) * width * (column + 1),
  ];
  const groups = ffnGroups(model);
  switch (weight) {
    case "wq":
      return { heads: part(model.heads) };
    case "wk":
    case "wv":
      return { heads: part(model.kvHeads) };
    case "wg":
    case "wu":
      return { heads: part(groups) };
    case "wo":
      return { rows: part(model.heads, model.headDim) };
    case "wd":
      return { rows: part(groups, model.ffn / groups) };
    case "e":
      return { rows: part(model.vocabulary) };
    case "head":
      return { heads: part(tensor) };
    default:
      return undefined;
  }
}
