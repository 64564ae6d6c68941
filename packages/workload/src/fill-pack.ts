import type { LengthStream } from "./length-streams.ts";
import { checkedLength, type PackedBatch, packedBatch } from "./packed-batch.ts";

export interface FillOptions {
  /** The tokens that the pack holds. */
  readonly tokens: number;
  /** Longer documents are cut to this many tokens; `tokens` where it is left out. */
  readonly longest?: number | undefined;
}

/**
 * Takes documents from the stream until a pack of exactly `tokens` tokens is full, as training packs are made; the last
 * document is cut to what is left.
 *
 * @throws InputError if a count is not a whole number from 1 to 2^31 - 1.
 */
export function fillPack(stream: LengthStream, { tokens, longest = tokens }: FillOptions): PackedBatch {
  let left = checkedLength(tokens, "option tokens");
  checkedLength(longest, "option longest");
  const lengths: number[] = [];
  while (left > 0) {
    const length = Math.min(checkedLength(stream(), `document ${lengths.length}`), longest, left);
    lengths.push(length);
    left -= length;
  }
  return packedBatch(lengths);
}
