import type { Block, TokenRange } from "./block.ts";
import { GrowingColumn } from "./column.ts";
import type { Equation } from "./equation.ts";
import { type GroupKind, groupKinds, type OpKind, opKinds, type TileMask, tileMasks } from "./op.ts";
import { groupSizeOf, type Problem, ranksOf } from "./problem.ts";
import type { Degrees, Layout, Schedule } from "./schedule.ts";
import { attentionTensors, type TensorSpec } from "./tensor.ts";
import type { Tile } from "./tiles.ts";

/** One side of a transfer: hand `blocks` to `to`, or take them from `from`. */
export type Transfer =
  | { readonly to: number; readonly blocks: readonly Block[] }
  | { readonly from: number; readonly blocks: readonly Block[] };

/** Which heads a tile covers and which partial sums it goes to; by default all query heads and the tensors themselves. */
export interface AttendOptions {
  readonly headBegin?: number;
  readonly headEnd?: number;
  /** Part of o and lse (forward) or of dq (backward). */
  readonly part?: number;
  /** Part of dk and dv (backward). */
  readonly kvPart?: number;
}

/** Names a block: all heads of `tensor` unless `heads` says otherwise. */
export type BlockMaker = (
  tensor: string,
  tokens: TokenRange,
  heads?: readonly [number, number],
  part?: number,
) => Block;

/** Collects the programs of all ranks. `rank(r)` may be asked for in any order; each rank's calls are its issue order. */
export class ScheduleBuilder {
  readonly tensors: readonly TensorSpec[];
  readonly #programs: ProgramBuilder[];

  constructor(
    readonly problem: Problem,
    readonly strategy: string,
    readonly degrees: Degrees,
    readonly layout: Layout,
    ownTensors: readonly TensorSpec[] = [],
    /** Of a schedule of (part of) a layer, whose tensors are then exactly those given. */
    readonly equations?: readonly Equation[],
  ) {
    // One of attention's own tensors may be given as well, to travel in another dtype.
    const own = new Map(ownTensors.map((spec) => [spec.name, spec]));
    const known = equations === undefined ? attentionTensors(problem).map((spec) => own.get(spec.name) ?? spec) : [];
    this.tensors = [...new Set([...known, ...ownTensors])];
    this.#programs = Array.from({ length: ranksOf(problem) }, () => new ProgramBuilder(problem, this.tensors));
  }

  rank(rank: number): ProgramBuilder {
    return this.#programs[rank];
  }

  readonly block: BlockMaker = (tensor, tokens, heads, part = 0) => {
    const spec = this.tensors.find(({ name }) => name === tensor);
    if (spec === undefined) throw new Error(`unknown tensor: ${tensor}`);
    const [headBegin, headEnd] = heads ?? [0, spec.heads];
    return { tensor, part, tokenBegin: tokens.begin, tokenEnd: tokens.end, headBegin, headEnd };
  };

  finish(): Schedule {
    const { problem, strategy, degrees, layout, tensors } = this;
    const resident = this.#programs.map(({ held }) => held);
    const kept = resident.some(({ length }) => length > 0) ? { resident } : {};
    const stated = this.equations === undefined ? {} : { equations: this.equations };
    return { problem, strategy, degrees, layout, ...kept, tensors, ...stated, ...concatenate(this.#programs) };
  }
}

/** The program of one rank. Blocks equal to the one last used in the same place are stored once. */
export class ProgramBuilder {
  readonly #tensorIndex: ReadonlyMap<string, number>;
  readonly #groupSize: number;
  readonly #backward: boolean;
  readonly #heads: number;
  #groups = 0;
  readonly held: Block[] = [];
  readonly tensor = new GrowingColumn(Uint8Array);
  readonly part = new GrowingColumn(Int32Array);
  readonly tokenBegin = new GrowingColumn(Int32Array);
  readonly tokenEnd = new GrowingColumn(Int32Array);
  readonly headBegin = new GrowingColumn(Uint16Array);
  readonly headEnd = new GrowingColumn(Uint16Array);
  readonly kind = new GrowingColumn(Uint8Array);
  readonly attribute = new GrowingColumn(Uint8Array);
  readonly peer = new GrowingColumn(Int32Array);
  readonly group = new GrowingColumn(Int32Array);
  readonly operandBegin = new GrowingColumn(Int32Array);
  readonly operands = new GrowingColumn(Int32Array);

  constructor(problem: Problem, tensors: readonly TensorSpec[]) {
    this.#tensorIndex = new Map(tensors.map(({ name }, index) => [name, index]));
    this.#groupSize = groupSizeOf(problem.shape);
    this.#backward = problem.pass === "backward";
    this.#heads = problem.shape.heads;
  }

  /** Declares input or output blocks that lie with this rank although it does not own their rows (see `Schedule.resident`). */
  hold(...blocks: readonly Block[]): void {
    this.held.push(...blocks);
  }

  /** One group of transfers that start together. Transfers without blocks are left out, and so is an empty group. */
  exchange(kind: GroupKind, transfers: readonly Transfer[]): void {
    const group = this.#groups;
    for (const transfer of transfers) {
      if (transfer.blocks.length === 0) continue;
      this.#groups = group + 1;
      const [op, peer] = "to" in transfer ? (["send", transfer.to] as const) : (["recv", transfer.from] as const);
      this.#op(op, groupKinds.indexOf(kind), peer, group, transfer.blocks);
    }
  }

  /** One tile of attention: the problem's pass decides which tensors it reads and accumulates into. */
  attend({ qBegin, qEnd, kBegin, kEnd, mask }: Tile, options: AttendOptions = {}): void {
    const { headBegin = 0, headEnd = this.#heads, part = 0, kvPart = 0 } = options;
    const q = { tokenBegin: qBegin, tokenEnd: qEnd, headBegin, headEnd };
    const kv = {
      tokenBegin: kBegin,
      tokenEnd: kEnd,
      headBegin: Math.floor(headBegin / this.#groupSize),
      headEnd: Math.ceil(headEnd / this.#groupSize),
    };
    const inputs = [
      { tensor: "q", part: 0, ...q },
      { tensor: "k", part: 0, ...kv },
      { tensor: "v", part: 0, ...kv },
    ];
    const blocks = this.#backward
      ? [
          ...inputs,
          { tensor: "do", part: 0, ...q },
          { tensor: "lse", part: 0, ...q },
          { tensor: "delta", part: 0, ...q },
          { tensor: "dq", part, ...q },
          { tensor: "dk", part: kvPart, ...kv },
          { tensor: "dv", part: kvPart, ...kv },
        ]
      : [...inputs, { tensor: "o", part, ...q }, { tensor: "lse", part, ...q }];
    this.#op("attend", tileMasks.indexOf(mask), -1, -1, blocks);
  }

  /** Merges (o, lse) partials into (o, lse), in the order given. */
  merge(blocks: readonly Block[]): void {
    this.#op("merge", 0, -1, -1, blocks);
  }

  reduce(target: Block, ...sources: readonly Block[]): void {
    this.#op("reduce", 0, -1, -1, [target, ...sources]);
  }

  copy(target: Block, source: Block): void {
    this.#op("copy", 0, -1, -1, [target, source]);
  }

  /** Appends any other computation op; `mask` matters to tiles only. */
  compute(kind: OpKind, blocks: readonly Block[], mask: TileMask = "full"): void {
    this.#op(kind, tileMasks.indexOf(mask), -1, -1, blocks);
  }

  #op(kind: OpKind, attribute: number, peer: number, group: number, blocks: readonly Block[]): void {
    const previous = this.kind.length === 0 ? 0 : this.operandBegin.at(this.operandBegin.length - 1);
    this.operandBegin.push(this.operands.length);
    this.kind.push(opKinds.indexOf(kind));
    this.attribute.push(attribute);
    this.peer.push(peer);
    this.group.push(group);
    const begin = this.operandBegin.at(this.operandBegin.length - 1);
    blocks.forEach((block, i) => {
      const candidate = previous + i < begin ? this.operands.at(previous + i) : -1;
      this.operands.push(candidate >= 0 && this.#isBlock(candidate, block) ? candidate : this.#intern(block));
    });
  }

  #isBlock(id: number, block: Block): boolean {
    return (
      this.tensor.at(id) === this.#tensorIndex.get(block.tensor) &&
      this.part.at(id) === block.part &&
      this.tokenBegin.at(id) === block.tokenBegin &&
      this.tokenEnd.at(id) === block.tokenEnd &&
      this.headBegin.at(id) === block.headBegin &&
      this.headEnd.at(id) === block.headEnd
    );
  }

  #intern(block: Block): number {
    const tensor = this.#tensorIndex.get(block.tensor);
    if (tensor === undefined) throw new Error(`unknown tensor: ${block.tensor}`);
    this.tensor.push(tensor);
    this.part.push(block.part);
    this.tokenBegin.push(block.tokenBegin);
    this.tokenEnd.push(block.tokenEnd);
    this.headBegin.push(block.headBegin);
    this.headEnd.push(block.headEnd);
    return this.tensor.length - 1;
  }
}

const blockColumns = ["tensor", "part", "tokenBegin", "tokenEnd", "headBegin", "headEnd"] as const;
const opColumns = ["kind", "attribute", "peer", "group"] as const;

/** Lays the programs' tables end to end, shifting block ids and operand positions by what stands before. */
function concatenate(programs: readonly ProgramBuilder[]): Pick<Schedule, "blocks" | "ops" | "opBegin"> {
  const sum = (length: (program: ProgramBuilder) => number) =>
    programs.reduce((total, program) => total + length(program), 0);
  const blockCount = sum(({ tensor }) => tensor.length);
  const opCount = sum(({ kind }) => kind.length);
  const blocks = {
    tensor: new Uint8Array(blockCount),
    part: new Int32Array(blockCount),
    tokenBegin: new Int32Array(blockCount),
    tokenEnd: new Int32Array(blockCount),
    headBegin: new Uint16Array(blockCount),
    headEnd: new Uint16Array(blockCount),
  };
  const ops = {
    kind: new Uint8Array(opCount),
    attribute: new Uint8Array(opCount),
    peer: new Int32Array(opCount),
    group: new Int32Array(opCount),
    operandBegin: new Int32Array(opCount + 1),
    operands: new Int32Array(sum(({ operands }) => operands.length)),
  };
  const opBegin = new Int32Array(programs.length + 1);
  let block = 0;
  let operand = 0;
  programs.forEach((program, rank) => {
    const op = opBegin[rank];
    for (const name of blockColumns) blocks[name].set(program[name].finish(), block);
    for (const name of opColumns) ops[name].set(program[name].finish(), op);
    for (let i = 0; i < program.operandBegin.length; i++)
      ops.operandBegin[op + i] = program.operandBegin.at(i) + operand;
    for (let i = 0; i < program.operands.length; i++) ops.operands[operand + i] = program.operands.at(i) + block;
    block += program.tensor.length;
    operand += program.operands.length;
    opBegin[rank + 1] = op + program.kind.length;
  });
  ops.operandBegin[opCount] = operand;
  return { blocks, ops, opBegin };
}
