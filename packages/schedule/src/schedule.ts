import type { Block, TokenRange } from "./block.ts";
import type { Equation } from "./equation.ts";
import {
  type GroupKind,
  groupKinds,
  isCommunication,
  type Op,
  type OpKind,
  opKinds,
  type TileMask,
  tileMasks,
} from "./op.ts";
import type { Problem } from "./problem.ts";
import type { TensorSpec } from "./tensor.ts";

/** How many ranks each mechanism spans; the product is the world size. */
export type Degrees = Readonly<Record<string, number>>;

/** Token ranges each rank owns: sorted, disjoint, never adjacent, together all tokens. The owner holds all heads of its rows. */
export type Layout = readonly (readonly TokenRange[])[];

/** Blocks as columns; a block id is a row. */
export interface BlockTable {
  readonly tensor: Uint8Array;
  readonly part: Int32Array;
  readonly tokenBegin: Int32Array;
  readonly tokenEnd: Int32Array;
  readonly headBegin: Uint16Array;
  readonly headEnd: Uint16Array;
}

/** Ops of all ranks as columns, rank after rank, each rank's in issue order. `operandBegin` has one row more than the others. */
export interface OpTable {
  /** Index into `opKinds`. */
  readonly kind: Uint8Array;
  /** Index into `tileMasks` for tiles, into `groupKinds` for sends and receives, otherwise 0. */
  readonly attribute: Uint8Array;
  /** The other rank of a send or receive, otherwise -1. */
  readonly peer: Int32Array;
  /** Number of the group on its rank (0, 1, ... in issue order) for sends and receives, otherwise -1. */
  readonly group: Int32Array;
  /** Where the op's operands begin in `operands`. */
  readonly operandBegin: Int32Array;
  /** Block ids. */
  readonly operands: Int32Array;
}

/**
 * Programs for all ranks. A program is one list of ops in issue order, run on two lanes: sends and receives on the
 * communication lane, the rest on the computation lane. Each lane keeps its order; between the lanes an op waits only for
 * ops before it in the list that touch the same blocks (or memory). So a group that stands before the tiles of the previous
 * group overlaps with them, and the list itself says how long every block lives.
 */
export interface Schedule {
  readonly problem: Problem;
  readonly strategy: string;
  readonly degrees: Degrees;
  readonly layout: Layout;
  /**
   * What lies elsewhere than with the owner of its rows: blocks (part 0) by rank; nothing where left out. Inputs named here are
   * held from the start besides those of the layout; outputs named here must lie complete here after the last op, and a
   * tensor of which any rank has such a block need not lie with its owners. It says what the published system keeps
   * between its forward and backward pass in another form than the layout's: Ulysses keeps q, k, v and lse as heads.
   * A block has at least the heads of every region that the program uses of those rows.
   */
  readonly resident?: readonly (readonly Block[])[];
  readonly tensors: readonly TensorSpec[];
  /**
   * What is computed besides attention, for a schedule that holds (part of) a layer. Its tensors are then all listed, attention's
   * only where it has any; one of which any rank has resident blocks, or that has rows of its own, lies only where they say.
   */
  readonly equations?: readonly Equation[];
  readonly blocks: BlockTable;
  readonly ops: OpTable;
  /** Ops of rank r are rows opBegin[r] to opBegin[r + 1]. */
  readonly opBegin: Int32Array;
}

export const worldSizeOf = (schedule: Schedule): number => schedule.opBegin.length - 1;

/**
 * Where `rank` has the rows of `tensor` before the first op (an input) or must have them complete after the last (an output):
 * its ranges of the layout with all heads, and what is resident. None for an internal tensor.
 */
export function homeBlocks(
  { tensors, layout, resident = [], equations }: Schedule,
  rank: number,
  tensor: string,
): readonly Block[] {
  const spec = tensors.find(({ name }) => name === tensor);
  if (spec === undefined || spec.role === "internal") return [];
  const kept = (resident[rank] ?? []).filter((block) => block.tensor === tensor);
  const isResident =
    spec.rows !== undefined || resident.some((blocks) => blocks.some((block) => block.tensor === tensor));
  if (isResident && (spec.role === "output" || equations !== undefined)) return kept;
  const rows = layout[rank].map(({ begin, end }) => ({
    ...{ tensor, part: 0, tokenBegin: begin, tokenEnd: end },
    ...{ headBegin: 0, headEnd: spec.heads },
  }));
  return [...rows, ...kept];
}

/** Block `id` of the table, as people and tests read it. */
export function blockAt({ blocks, tensors }: Schedule, id: number): Block {
  return {
    tensor: tensors[blocks.tensor[id]].name,
    part: blocks.part[id],
    tokenBegin: blocks.tokenBegin[id],
    tokenEnd: blocks.tokenEnd[id],
    headBegin: blocks.headBegin[id],
    headEnd: blocks.headEnd[id],
  };
}

/** Op `row` of the table, as people and tests read it. */
export function opAt(schedule: Schedule, row: number): Op {
  const { ops } = schedule;
  const kind: OpKind = opKinds[ops.kind[row]];
  const blocks: Block[] = [];
  for (let i = ops.operandBegin[row]; i < ops.operandBegin[row + 1]; i++)
    blocks.push(blockAt(schedule, ops.operands[i]));
  if (isCommunication(kind)) {
    const groupKind: GroupKind = groupKinds[ops.attribute[row]];
    return { kind, group: ops.group[row], groupKind, peer: ops.peer[row], blocks };
  }
  const mask: TileMask = tileMasks[ops.attribute[row]];
  if (kind === "attend") return { kind, mask: mask as "full" | "causal", blocks };
  if (kind === "score") return { kind, mask, blocks };
  return { kind, blocks };
}

/** The ops of one rank, in issue order. */
export function* programOf(schedule: Schedule, rank: number): Generator<Op> {
  for (let row = schedule.opBegin[rank]; row < schedule.opBegin[rank + 1]; row++) yield opAt(schedule, row);
}
