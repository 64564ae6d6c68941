import { attentionTensors, type GroupKind, groupKinds, opKinds, type Problem, type Schedule } from "@hsap/schedule";

const sendCode = opKinds.indexOf("send");
const recvCode = opKinds.indexOf("recv");

/**
 * A schedule's columns as they are written, rank after rank. A compiler that runs in every step cannot afford an object
 * for each block and op, so its last pass writes numbers; `ScheduleBuilder` is the comfortable way to the same tables.
 */
export class ScheduleTable {
  readonly #tensors;
  readonly #opBegin = [0];
  readonly #blocks = new BlockColumns();
  readonly #ops = new OpColumns();
  #operands = new Int32Array(4096);
  #operandCount = 0;
  #groups = 0;

  constructor(problem: Problem) {
    this.#tensors = attentionTensors(problem);
  }

  /** The code of a tensor in `block`; -1 if the problem's pass has no such tensor. */
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
    return this.#blocks.push(tensor, part, tokenBegin, tokenEnd, headBegin, headEnd);
  }

  /** The next send or receive belongs to a new group. */
  beginGroup(): void {
    this.#groups++;
  }

  /** A send or receive of the current group; its blocks follow as operands. */
  transfer(kind: "send" | "recv", groupKind: GroupKind, peer: number): void {
    const code = kind === "send" ? sendCode : recvCode;
    this.#ops.push(code, groupKinds.indexOf(groupKind), peer, this.#groups - 1, this.#operandCount);
  }

  /** An op on the computation lane, as indices into `opKinds` and `tileMasks`; its blocks follow as operands. */
  compute(kind: number, mask: number): void {
    this.#ops.push(kind, mask, -1, -1, this.#operandCount);
  }

  operand(block: number): void {
    if (this.#operandCount === this.#operands.length) this.#growOperands();
    this.#operands[this.#operandCount++] = block;
  }

  /** Blocks `first` up to, not including, `past` as operands. */
  operands(first: number, past: number): void {
    for (let block = first; block < past; block++) this.operand(block);
  }

  /** The id that the next block gets. */
  get nextBlock(): number {
    return this.#blocks.length;
  }

  /** Ends the program of a rank. */
  endRank(): void {
    this.#opBegin.push(this.#ops.length);
    this.#groups = 0;
  }

  finish(): Pick<Schedule, "tensors" | "blocks" | "ops" | "opBegin"> {
    return {
      tensors: this.#tensors,
      blocks: this.#blocks.finish(),
      ops: { ...this.#ops.finish(this.#operandCount), operands: this.#operands.slice(0, this.#operandCount) },
      opBegin: Int32Array.from(this.#opBegin),
    };
  }

  #growOperands(): void {
    const larger = new Int32Array(2 * this.#operands.length);
    larger.set(this.#operands);
    this.#operands = larger;
  }
}

class BlockColumns {
  length = 0;
  #tensor = new Uint8Array(4096);
  #part = new Int32Array(4096);
  #tokenBegin = new Int32Array(4096);
  #tokenEnd = new Int32Array(4096);
  #headBegin = new Uint16Array(4096);
  #headEnd = new Uint16Array(4096);

  push(tensor: number, part: number, tokenBegin: number, tokenEnd: number, headBegin: number, headEnd: number): number {
    if (this.length === this.#tensor.length) this.#grow();
    const row = this.length++;
    this.#tensor[row] = tensor;
    this.#part[row] = part;
    this.#tokenBegin[row] = tokenBegin;
    this.#tokenEnd[row] = tokenEnd;
    this.#headBegin[row] = headBegin;
    this.#headEnd[row] = headEnd;
    return row;
  }

  finish(): Schedule["blocks"] {
    return {
      tensor: this.#tensor.slice(0, this.length),
      part: this.#part.slice(0, this.length),
      tokenBegin: this.#tokenBegin.slice(0, this.length),
      tokenEnd: this.#tokenEnd.slice(0, this.length),
      headBegin: this.#headBegin.slice(0, this.length),
      headEnd: this.#headEnd.slice(0, this.length),
    };
  }

  #grow(): void {
    const capacity = 2 * this.length;
    this.#tensor = copied(this.#tensor, new Uint8Array(capacity));
    this.#part = copied(this.#part, new Int32Array(capacity));
    this.#tokenBegin = copied(this.#tokenBegin, new Int32Array(capacity));
    this.#tokenEnd = copied(this.#tokenEnd, new Int32Array(capacity));
    this.#headBegin = copied(this.#headBegin, new Uint16Array(capacity));
    this.#headEnd = copied(this.#headEnd, new Uint16Array(capacity));
  }
}

class OpColumns {
  length = 0;
  #kind = new Uint8Array(4096);
  #attribute = new Uint8Array(4096);
  #peer = new Int32Array(4096);
  #group = new Int32Array(4096);
  #operandBegin = new Int32Array(4097);

  push(kind: number, attribute: number, peer: number, group: number, operandBegin: number): void {
    if (this.length === this.#kind.length) this.#grow();
    const row = this.length++;
    this.#kind[row] = kind;
    this.#attribute[row] = attribute;
    this.#peer[row] = peer;
    this.#group[row] = group;
    this.#operandBegin[row] = operandBegin;
  }

  finish(operands: number): Omit<Schedule["ops"], "operands"> {
    this.#operandBegin[this.length] = operands;
    return {
      kind: this.#kind.slice(0, this.length),
      attribute: this.#attribute.slice(0, this.length),
      peer: this.#peer.slice(0, this.length),
      group: this.#group.slice(0, this.length),
      operandBegin: this.#operandBegin.slice(0, this.length + 1),
    };
  }

  #grow(): void {
    const capacity = 2 * this.length;
    this.#kind = copied(this.#kind, new Uint8Array(capacity));
    this.#attribute = copied(this.#attribute, new Uint8Array(capacity));
    this.#peer = copied(this.#peer, new Int32Array(capacity));
    this.#group = copied(this.#group, new Int32Array(capacity));
    this.#operandBegin = copied(this.#operandBegin, new Int32Array(capacity + 1));
  }
}

function copied<T extends Uint8Array | Uint16Array | Int32Array>(column: T, larger: T): T {
  larger.set(column);
  return larger;
}
