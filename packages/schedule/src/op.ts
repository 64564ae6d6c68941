import type { Block } from "./block.ts";
import { isLayerOp, type LayerOp, layerOpKinds, layerOpShapes } from "./layer-op.ts";

/**
 * How a tile is masked. `full`: every pair. `causal`: pairs whose key is not after the query. `document`: pairs of one
 * document, under the problem's mask (only `score` knows it: it computes a rectangle over many documents and masks what
 * does not belong; `attend` tiles lie inside one document).
 */
export type TileMask = "full" | "causal" | "document";

/**
 * How the sends and receives of one group belong together. The engine moves the same blocks whatever the kind; a transport
 * or the simulator may use the library collective of that name.
 */
export type GroupKind = "p2p" | "allGather" | "allToAll" | "reduceScatter" | "broadcast";

/** Hands blocks to `peer`, which has a matching recv in its own group. */
export interface Send {
  readonly kind: "send";
  readonly group: number;
  readonly groupKind: GroupKind;
  readonly peer: number;
  readonly blocks: readonly Block[];
}

/** Takes blocks from `peer`, under the same names. */
export interface Recv {
  readonly kind: "recv";
  readonly group: number;
  readonly groupKind: GroupKind;
  readonly peer: number;
  readonly blocks: readonly Block[];
}

/**
 * One tile of attention. Forward blocks are q, k, v, o, lse: the tile is merged exactly into (o, lse). Backward blocks are
 * q, k, v, do, lse, delta, dq, dk, dv: the last three are added to. A block absent before its first write starts empty.
 */
export interface Attend {
  readonly kind: "attend";
  readonly mask: "full" | "causal";
  readonly blocks: readonly Block[];
}

/** Merges partials into (o, lse), in order: blocks are o, lse, then an (o, lse) pair for each partial. */
export interface Merge {
  readonly kind: "merge";
  readonly blocks: readonly Block[];
}

/**
 * Adds sources to a target, in order: blocks are target, then sources. A source with more heads is summed in groups of heads.
 * Without sources it makes a target that may be absent: rows absent so far start empty (0), the others stay as they are.
 */
export interface Reduce {
  readonly kind: "reduce";
  readonly blocks: readonly Block[];
}

/** Copies: blocks are target, source. A target with more heads repeats each source head. */
export interface Copy {
  readonly kind: "copy";
  readonly blocks: readonly Block[];
}

/**
 * Unfused scores: blocks are q, k, s. s = scale * q k' with masked pairs -inf; column j of s is key j of the k block. Where the
 * k block has fewer keys than s has columns, the columns left over are -inf.
 */
export interface Score {
  readonly kind: "score";
  readonly mask: TileMask;
  readonly blocks: readonly Block[];
}

/**
 * Unfused softmax over the columns of all s parts, in place: blocks are lse, then the s parts. Forward writes lse; backward
 * reads it and turns s into exp(s - lse).
 */
export interface Softmax {
  readonly kind: "softmax";
  readonly blocks: readonly Block[];
}

/** Unfused product with the values. Forward: s, v, o: o += s v. Backward: s, v, do, delta, dv: dv += s' do, then s *= do v' - delta. */
export interface Weigh {
  readonly kind: "weigh";
  readonly blocks: readonly Block[];
}

/** Backward of `score`: blocks are s, q, k, dq, dk: dq += scale * s k, dk += scale * s' q, where s holds its own gradient. */
export interface Unscore {
  readonly kind: "unscore";
  readonly blocks: readonly Block[];
}

export type CommunicationOp = Send | Recv;
export type ComputationOp = Attend | Merge | Reduce | Copy | Score | Softmax | Weigh | Unscore | LayerOp;
export type Op = CommunicationOp | ComputationOp;
export type OpKind = Op["kind"];

/** Codes of the columnar and binary forms. Append only: a code once published keeps its meaning. */
export const opKinds = [
  "send",
  "recv",
  "attend",
  "merge",
  "reduce",
  "copy",
  "score",
  "softmax",
  "weigh",
  "unscore",
  ...layerOpKinds,
] as const;
export const tileMasks = ["full", "causal", "document"] as const;
export const groupKinds = ["p2p", "allGather", "allToAll", "reduceScatter", "broadcast"] as const;

export const isCommunication = (kind: OpKind): kind is "send" | "recv" => kind === "send" || kind === "recv";

/** Positions in `blocks` that an op writes or accumulates into; the others are only read. */
export function writtenBlocks(kind: OpKind, blocks: number, backward: boolean): readonly number[] {
  if (isLayerOp(kind)) {
    const { reads, writes } = layerOpShapes[kind];
    return Array.from({ length: writes }, (_, i) => reads + i);
  }
  switch (kind) {
    case "send":
      return [];
    case "recv":
      return Array.from({ length: blocks }, (_, i) => i);
    case "attend":
      return backward ? [6, 7, 8] : [3, 4];
    case "merge":
      return [0, 1];
    case "reduce":
    case "copy":
      return [0];
    case "score":
      return [2];
    case "softmax":
      return backward
        ? Array.from({ length: blocks - 1 }, (_, i) => i + 1)
        : Array.from({ length: blocks }, (_, i) => i);
    case "weigh":
      return backward ? [0, 4] : [2];
    case "unscore":
      return [3, 4];
  }
}

/**
 * `writtenBlocks` for passes over columns: bit i of entry `kind` (an index into `opKinds`) says that position i is
 * written; bit 31 stands for every position from 31 on.
 */
export function writtenMasks(backward: boolean): Int32Array {
  return Int32Array.from(opKinds, (kind) =>
    writtenBlocks(kind, 32, backward).reduce((mask, position) => mask | (1 << position), 0),
  );
}
