import { type LayerOpKind, layerOpShapes } from "./layer-op.ts";

/**
 * One statement of what a schedule computes, for whole tensors: `op` applied to `reads` gives a term of each of `writes`. A tensor
 * that several equations write is the sum of their terms. Who computes which part of it is the programs' business.
 */
export interface Equation {
  readonly op: LayerOpKind;
  readonly reads: readonly string[];
  readonly writes: readonly string[];
}

/** `h = linear o wo` */
export const formatEquation = ({ op, reads, writes }: Equation): string =>
  `${writes.join(" ")} = ${op} ${reads.join(" ")}`;

/** An equation from its parts, e.g. `equation("linear", "n wq", "q")`. Throws an Error if the op has other numbers of operands. */
export function equation(op: LayerOpKind, reads: string, writes: string): Equation {
  const made = { op, reads: reads.split(" "), writes: writes.split(" ") };
  const shape = layerOpShapes[op];
  if (made.reads.length !== shape.reads || made.writes.length !== shape.writes)
    throw new Error(
      `invalid equation: ${formatEquation(made)} (${op} reads ${shape.reads} and writes ${shape.writes})`,
    );
  return made;
}
