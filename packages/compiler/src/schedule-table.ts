import {
  attentionTensors,
  type Block,
  type Degrees,
  type GroupKind,
  groupKinds,
  type Layout,
  type OpKind,
  opKinds,
  type Problem,
  type Schedule,
  type TileMask,
  tileMasks,
} from "@hsap/schedule";

/**
 * A schedule's columns as they are written, rank after rank. A compiler that runs in every step cannot afford an object
 * for each block and op, so its last pass writes numbers; `ScheduleBuilder` is the comfortable way to the same tables.
 */
export class ScheduleTable {
  readonly #tensors;
  readonly #resident: Block[][] = [];
  readonly #opBegin = [0];
  readonly #tensor: number[] = [];
  readonly #part: number[] = [];
  readonly #tokenBegin: number[] = [];
  readonly #tokenEnd: number[] = [];
  readonly #headBegin: number[] = [];
  readonly #headEnd: number[] = [];
  readonly #kind: number[] = [];
  readonly #attribute: number[] = [];
  readonly #peer: number[] = [];
  readonly #group: number[] = [];
  readonly #operandBegin: number[] = [];
  readonly #operands: number[] = [];
  #groups = 0;

  constructor(
    readonly problem: Problem,
    readonly strategy: string,
    readonly degrees: Degrees,
    readonly layout: Layout,
  ) {
    this.#tensors = attentionTensors(problem);
  }

  /** The code of a tensor in `block`. */
  tensor(name: string): number {
    return this.#tensors.findIndex((tensor) => tensor.name === name);
  }

  /** Adds a block to the table and returns its id, which belongs to the rank being written. */
  block(
    tensor: number,
    part: number,
    tokenBegin: number,
    tokenEnd: number,
    headBegin: number,
    headEnd: number,
  ): number {
    this.#tensor.push(tensor);
    this.#part.push(part);
    this.#tokenBegin.push(tokenBegin);
    this.#tokenEnd.push(tokenEnd);
    this.#headBegin.push(headBegin);
    this.#headEnd.push(headEnd);
    return this.#tensor.length - 1;
  }

  /** The next send or receive belongs to a new group. */
  beginGroup(): void {
    this.#groups++;
  }

  /** A send or receive of the current group; its blocks follow as operands. */
  transfer(kind: "send" | "recv", groupKind: GroupKind, peer: number): void {
    this.#op(opKinds.indexOf(kind), groupKinds.indexOf(groupKind), peer, this.#groups - 1);
  }

  /** An op on the computation lane; its blocks follow as operands. */
  compute(kind: OpKind, mask: TileMask = "full"): void {
    this.#op(opKinds.indexOf(kind), tileMasks.indexOf(mask), -1, -1);
  }

  operand(block: number): void {
    this.#operands.push(block);
  }

  /** Ends the program of a rank; `resident` is what it keeps besides its tokens (see `Schedule.resident`). */
  endRank(resident: Block[] = []): void {
    this.#opBegin.push(this.#kind.length);
    this.#resident.push(resident);
    this.#groups = 0;
  }

  finish(): Schedule {
    const { problem, strategy, degrees, layout } = this;
    const isAnyResident = this.#resident.some(({ length }) => length > 0);
    return {
      ...{ problem, strategy, degrees, layout, tensors: this.#tensors },
      ...(isAnyResident ? { resident: this.#resident } : {}),
      blocks: {
        tensor: new Uint8Array(this.#tensor),
        part: new Int32Array(this.#part),
        tokenBegin: new Int32Array(this.#tokenBegin),
        tokenEnd: new Int32Array(this.#tokenEnd),
        headBegin: new Uint16Array(this.#headBegin),
        headEnd: new Uint16Array(this.#headEnd),
      },
      ops: {
        kind: new Uint8Array(this.#kind),
        attribute: new Uint8Array(this.#attribute),
        peer: new Int32Array(this.#peer),
        group: new Int32Array(this.#group),
        operandBegin: new Int32Array(this.#operandBegin.concat(this.#operands.length)),
        operands: new Int32Array(this.#operands),
      },
      opBegin: new Int32Array(this.#opBegin),
    };
  }

  #op(kind: number, attribute: number, peer: number, group: number): void {
    this.#operandBegin.push(this.#operands.length);
    this.#kind.push(kind);
    this.#attribute.push(attribute);
    this.#peer.push(peer);
    this.#group.push(group);
  }
}
