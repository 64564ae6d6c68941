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
  readonly #tensor = new Column(Uint8Array);
  readonly #part = new Column(Int32Array);
  readonly #tokenBegin = new Column(Int32Array);
  readonly #tokenEnd = new Column(Int32Array);
  readonly #headBegin = new Column(Uint16Array);
  readonly #headEnd = new Column(Uint16Array);
  readonly #kind = new Column(Uint8Array);
  readonly #attribute = new Column(Uint8Array);
  readonly #peer = new Column(Int32Array);
  readonly #group = new Column(Int32Array);
  readonly #operandBegin = new Column(Int32Array);
  readonly #operands = new Column(Int32Array);
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

  /** Adds a block to the table and returns its id; any rank may name it. */
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
    this.#op(kind === "send" ? sendCode : recvCode, groupKinds.indexOf(groupKind), peer, this.#groups - 1);
  }

  /** An op on the computation lane; its blocks follow as operands. */
  compute(kind: OpKind, mask: TileMask = "full"): void {
    this.#op(opKinds.indexOf(kind), tileMasks.indexOf(mask), -1, -1);
  }

  operand(block: number): void {
    this.#operands.push(block);
  }

  /** Blocks `first` up to, not including, `past` as operands. */
  operands(first: number, past: number): void {
    for (let block = first; block < past; block++) this.#operands.push(block);
  }

  /** The id that the next block gets. */
  get nextBlock(): number {
    return this.#tensor.length;
  }

  /** Ends the program of a rank; `resident` is what it keeps besides its tokens (see `Schedule.resident`). */
  endRank(resident: Block[] = []): void {
    this.#opBegin.push(this.#kind.length);
    this.#resident.push(resident);
    this.#groups = 0;
  }

  finish(): Schedule {
    this.#operandBegin.push(this.#operands.length);
    const { problem, strategy, degrees, layout } = this;
    const isAnyResident = this.#resident.some(({ length }) => length > 0);
    return {
      ...{ problem, strategy, degrees, layout, tensors: this.#tensors },
      ...(isAnyResident ? { resident: this.#resident } : {}),
      blocks: {
        tensor: this.#tensor.finish(),
        part: this.#part.finish(),
        tokenBegin: this.#tokenBegin.finish(),
        tokenEnd: this.#tokenEnd.finish(),
        headBegin: this.#headBegin.finish(),
        headEnd: this.#headEnd.finish(),
      },
      ops: {
        kind: this.#kind.finish(),
        attribute: this.#attribute.finish(),
        peer: this.#peer.finish(),
        group: this.#group.finish(),
        operandBegin: this.#operandBegin.finish(),
        operands: this.#operands.finish(),
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

const sendCode = opKinds.indexOf("send");
const recvCode = opKinds.indexOf("recv");

/** A typed array that grows by doubling. */
class Column<T extends Uint8Array | Uint16Array | Int32Array> {
  #values: T;
  length = 0;

  constructor(readonly make: new (length: number) => T) {
    this.#values = new make(4096);
  }

  push(value: number): void {
    if (this.length === this.#values.length) this.#grow();
    this.#values[this.length++] = value;
  }

  finish(): T {
    return this.#values.slice(0, this.length) as T;
  }

  #grow(): void {
    const larger = new this.make(2 * this.#values.length);
    larger.set(this.#values);
    this.#values = larger;
  }
}
