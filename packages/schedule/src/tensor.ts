import { tokensOf } from "@hsap/workload";
import { bytesPerElement, type Dtype, type Problem } from "./problem.ts";

/**
 * What a tensor is to a schedule. `input` rows lie with their owner before the first op and never change; `output` rows
 * must lie complete with their owner after the last; `internal` tensors exist only in between.
 */
export type TensorRole = "input" | "output" | "internal";

/**
 * One tensor: every row has `heads * width` elements. Rows are the tokens of the batch, or `rows` of them where that is given (a
 * weight has a row for each of its input columns). `accumulates`: ops add or merge into it, so it is held in fp32.
 */
export interface TensorSpec {
  readonly name: string;
  readonly heads: number;
  readonly width: number;
  readonly dtype: Dtype;
  readonly role: TensorRole;
  readonly accumulates: boolean;
  readonly rows?: number;
}

/** Extent of the first axis of a tensor, in blocks of the batch's tokens or of its own rows. */
export const rowsOf = ({ rows }: TensorSpec, { batch }: Problem): number => rows ?? tokensOf(batch);

/** The tensors of attention itself, by pass. A strategy may add internal ones of its own. */
export function attentionTensors({ shape, pass }: Problem): TensorSpec[] {
  const { heads, kvHeads, headDim, dtype } = shape;
  const query = { heads, width: headDim, dtype };
  const keyValue = { heads: kvHeads, width: headDim, dtype };
  // The log-sum-exp and delta are one fp32 number for each token and head, whatever the dtype of the rest.
  const row = { heads, width: 1, dtype: "fp32" as const };
  const input = { role: "input" as const, accumulates: false };
  const output = { role: "output" as const, accumulates: true };
  const inputs: TensorSpec[] = [
    { name: "q", ...query, ...input },
    { name: "k", ...keyValue, ...input },
    { name: "v", ...keyValue, ...input },
  ];
  if (pass === "forward") return [...inputs, { name: "o", ...query, ...output }, { name: "lse", ...row, ...output }];
  return [
    ...inputs,
    { name: "do", ...query, ...input },
    { name: "lse", ...row, ...input },
    { name: "delta", ...row, ...input },
    { name: "dq", ...query, ...output },
    { name: "dk", ...keyValue, ...output },
    { name: "dv", ...keyValue, ...output },
  ];
}

/** Bytes of one token and head of `spec` on the wire. */
export const wireBytesOf = (spec: TensorSpec): number => spec.width * bytesPerElement[spec.dtype];

/** Bytes of one token and head of `spec` in memory: accumulators are fp32 whatever travels. */
export const heldBytesOf = (spec: TensorSpec): number =>
  spec.width * (spec.accumulates ? 4 : bytesPerElement[spec.dtype]);
