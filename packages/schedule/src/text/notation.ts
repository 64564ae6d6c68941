import { isLayerOp, layerOpShapes } from "../layer-op.ts";
import type { OpKind } from "../op.ts";

/** The first line of every schedule in text form; the number is the version of the form. */
export const firstLine = "hsap schedule 1";

/** Where an op's line has its arrow: the position of the first block behind it, and the way the data goes. */
export interface Arrow {
  readonly at: number;
  readonly sign: "->" | "<-";
}

/** Tile ops write what stands behind the arrow, sums and copies what stands before it. A softmax works in place. */
export function arrowOf(kind: OpKind, backward: boolean): Arrow | undefined {
  if (isLayerOp(kind)) return { at: layerOpShapes[kind].reads, sign: "->" };
  switch (kind) {
    case "attend":
      return { at: backward ? 6 : 3, sign: "->" };
    case "score":
      return { at: 2, sign: "->" };
    case "weigh":
      return { at: backward ? 4 : 2, sign: "->" };
    case "unscore":
      return { at: 3, sign: "->" };
    case "merge":
      return { at: 2, sign: "<-" };
    case "reduce":
    case "copy":
      return { at: 1, sign: "<-" };
    default:
      return undefined;
  }
}

/** Ops whose line names a mask. */
export const hasMask = (kind: OpKind): boolean => kind === "attend" || kind === "score";
