import { InputError } from "./input-error.ts";

/**
 * Documents laid end to end in one sequence. Document i holds the tokens `cuSeqlens[i]` up to, not including,
 * `cuSeqlens[i + 1]`: int32, starts with 0, strictly increasing, as in FlashAttention's varlen interface.
 */
export interface PackedBatch {
  readonly cuSeqlens: Int32Array;
}

/** The largest token index that an int32 `cuSeqlens` can hold. */
export const maxTokens = 2 ** 31 - 1;

/**
 * Packs documents of the given lengths (tokens), in order.
 *
 * @throws InputError if there is no document, a length is not a whole number of at least 1, or the sum overflows int32.
 */
export function packedBatch(lengths: ArrayLike<number>): PackedBatch {
  if (lengths.length === 0) throw new InputError("invalid documents: 0 (a batch has at least 1 document)");
  const cuSeqlens = new Int32Array(lengths.length + 1);
  for (let document = 0; document < lengths.length; ++document) {
    const length = checkedLength(lengths[document], `document ${document}`);
    const end = cuSeqlens[document] + length;
    if (end > maxTokens) {
      throw new InputError(
        `invalid length: ${length} at document ${document} (the batch would hold ${end} tokens, int32 allows ${maxTokens})`,
      );
    }
    cuSeqlens[document + 1] = end;
  }
  return { cuSeqlens };
}

/**
 * Returns `length` if it is a whole number of tokens from 1 to 2^31 - 1; `where` names its place in the message.
 *
 * @throws InputError otherwise.
 */
export function checkedLength(length: unknown, where: string): number {
  if (typeof length !== "number" || !Number.isInteger(length) || length < 1 || length > maxTokens) {
    throw new InputError(
      `invalid length: ${shown(length)} at ${where} (must be a whole number from 1 to ${maxTokens})`,
    );
  }
  return length;
}

/** The number of documents in the batch. */
export function documentsOf({ cuSeqlens }: PackedBatch): number {
  return cuSeqlens.length - 1;
}

/** The number of tokens in the batch. */
export function tokensOf({ cuSeqlens }: PackedBatch): number {
  return cuSeqlens[cuSeqlens.length - 1];
}

/** The length of each document (tokens), in order. */
export function lengthsOf({ cuSeqlens }: PackedBatch): Int32Array {
  return Int32Array.from({ length: cuSeqlens.length - 1 }, (_, i) => cuSeqlens[i + 1] - cuSeqlens[i]);
}

/**
 * The index of the document that holds `token`, by bisection.
 *
 * @throws RangeError if the batch has no such token.
 */
export function documentAt(batch: PackedBatch, token: number): number {
  const { cuSeqlens } = batch;
  if (!(token >= 0 && token < tokensOf(batch))) {
    throw new RangeError(`invalid token: ${token} (the batch holds ${tokensOf(batch)})`);
  }
  let low = 0;
  let high = cuSeqlens.length - 1;
  while (high - low > 1) {
    const middle = (low + high) >>> 1;
    if (cuSeqlens[middle] <= token) low = middle;
    else high = middle;
  }
  return low;
}

function shown(value: unknown): string {
  return typeof value === "string" ? JSON.stringify(value) : String(value);
}
