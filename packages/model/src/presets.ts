import { InputError } from "@hsap/workload";

/** A decoder-only transformer in the manner of Llama: pre-norm with RMSNorm, rotary positions, grouped kv heads, SwiGLU. */
export interface ModelShape {
  readonly name: string;
  /** Columns of the residual stream. */
  readonly hidden: number;
  readonly layers: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  /** Columns between the two matrices of the feed-forward part. */
  readonly ffn: number;
  readonly vocabulary: number;
  /** Where the shape was published. */
  readonly source: string;
}

const llama = "Touvron et al., LLaMA, arXiv 2302.13971, table 2";

/** Models by size, smallest first. `tiny` exists for tests and demonstrations only. */
export const modelPresets: readonly ModelShape[] = [
  { name: "tiny", hidden: 64, layers: 2, heads: 8, kvHeads: 4, headDim: 8, ffn: 192, vocabulary: 256, source: "tests" },
  {
    ...{ name: "160m", hidden: 768, layers: 12, heads: 12, kvHeads: 12, headDim: 64, ffn: 3072, vocabulary: 32000 },
    source: "Miao et al., SpecInfer, arXiv 2305.09781 (Llama-160M)",
  },
  {
    ...{ name: "1.3b", hidden: 2048, layers: 24, heads: 16, kvHeads: 16, headDim: 128, ffn: 5504, vocabulary: 32000 },
    source: "Xia et al., Sheared LLaMA, arXiv 2310.06694, table 8",
  },
  {
    ...{ name: "7b", hidden: 4096, layers: 32, heads: 32, kvHeads: 32, headDim: 128, ffn: 11008, vocabulary: 32000 },
    source: llama,
  },
  {
    ...{ name: "13b", hidden: 5120, layers: 40, heads: 40, kvHeads: 40, headDim: 128, ffn: 13824, vocabulary: 32000 },
    source: llama,
  },
  {
    ...{ name: "30b", hidden: 6656, layers: 60, heads: 52, kvHeads: 52, headDim: 128, ffn: 17920, vocabulary: 32000 },
    source: llama,
  },
  {
    ...{ name: "70b", hidden: 8192, layers: 80, heads: 64, kvHeads: 8, headDim: 128, ffn: 28672, vocabulary: 32000 },
    source: "Touvron et al., Llama 2, arXiv 2307.09288",
  },
];

/**
 * The preset of that name.
 *
 * @throws InputError if there is none.
 */
export function modelNamed(name: string): ModelShape {
  const found = modelPresets.find((preset) => preset.name === name.toLowerCase());
  if (found !== undefined) return found;
  throw new InputError(`unknown model: ${name} (known: ${modelPresets.map((preset) => preset.name).join(", ")})`);
}

/** Weights of one layer: four projections of attention, three of the feed-forward part, two norms. */
export const layerParameters = ({ hidden, heads, kvHeads, headDim, ffn }: ModelShape): number =>
  2 * hidden * heads * headDim + 2 * hidden * kvHeads * headDim + 3 * hidden * ffn + 2 * hidden;

/** Weights of the whole model; embedding and head are two matrices. */
export const parametersOf = (model: ModelShape): number =>
  model.layers * layerParameters(model) + 2 * model.vocabulary * model.hidden + model.hidden;

/** Column groups of the feed-forward part: as many as divide both its columns and the heads, so that it splits as heads do. */
export function ffnGroups({ ffn, heads }: ModelShape): number {
  let [a, b] = [ffn, heads];
  while (b > 0) [a, b] = [b, a % b];
  return a;
}
