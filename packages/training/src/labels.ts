import { InputError, type PackedBatch, tokensOf } from "@hsap/workload";

/** What each token is to predict, and how much it counts. */
export interface Labels {
  /** Token ids; 0 where nothing counts. */
  readonly ids: Int32Array;
  /** Equal for all tokens that count, with sum 1; 0 for the last token of each document, whose successor belongs to another. */
  readonly weights: Float64Array;
}

/**
 * The next token of the same document, for every token.
 *
 * @throws InputError if there is not one id for each token of the batch, or no document has two tokens.
 */
export function nextTokens(ids: Int32Array, batch: PackedBatch): Labels {
  const tokens = tokensOf(batch);
  if (ids.length !== tokens) throw new InputError(`invalid ids: ${ids.length} (the batch has ${tokens} tokens)`);
  const { cuSeqlens } = batch;
  const counted = tokens - (cuSeqlens.length - 1);
  if (counted === 0) throw new InputError("invalid batch: no document has two tokens (nothing to predict)");
  const labels = { ids: new Int32Array(tokens), weights: new Float64Array(tokens) };
  for (let document = 1; document < cuSeqlens.length; document++) {
    for (let token = cuSeqlens[document - 1]; token + 1 < cuSeqlens[document]; token++) {
      labels.ids[token] = ids[token + 1];
      labels.weights[token] = 1 / counted;
    }
  }
  return labels;
}
