import { type TensorSpec, wireBytesOf } from "./tensor.ts";

/** A half-open range of tokens in global coordinates. */
export interface TokenRange {
  readonly begin: number;
  readonly end: number;
}

/**
 * A piece of one tensor in global coordinates, half-open in tokens and heads: the only way the IR names data.
 * `part` tells partial sums of the same rows apart (0 is the tensor itself, printed without a number; others print as `o#3`).
 */
export interface Block {
  readonly tensor: string;
  readonly part: number;
  readonly tokenBegin: number;
  readonly tokenEnd: number;
  readonly headBegin: number;
  readonly headEnd: number;
}

export const blockTokens = (block: Block): number => block.tokenEnd - block.tokenBegin;
export const blockHeads = (block: Block): number => block.headEnd - block.headBegin;

/** Bytes of `block` on the wire. */
export const blockBytes = (block: Block, spec: TensorSpec): number =>
  blockTokens(block) * blockHeads(block) * wireBytesOf(spec);

/** `q[0:128 h0:8]`, `o#3[0:128 h0:8]` */
export function formatBlock({ tensor, part, tokenBegin, tokenEnd, headBegin, headEnd }: Block): string {
  return `${tensor}${part === 0 ? "" : `#${part}`}[${tokenBegin}:${tokenEnd} h${headBegin}:${headEnd}]`;
}
