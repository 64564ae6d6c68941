import { attentionTensors, opKinds, type Problem, type Schedule, tileMasks } from "@hsap/schedule";

const sendCode = opKinds.indexOf("send");
const recvCode = opKinds.indexOf("recv");
const attendCode = opKinds.indexOf("attend");
const mergeCode = opKinds.indexOf("merge");
const reduceCode = opKinds.indexOf("reduce");
const fullCode = tileMasks.indexOf("full");

/**
 * A schedule's columns as they are written, rank after rank. A compiler that runs in every step cannot afford an object
 * for each block and op, so its last pass writes numbers; `ScheduleBuilder` is the comfortable way to the same tables.
 *
 * Only one table is written at a time: all are written into the same room, which is kept because getting so much memory anew
 * takes longer than filling it. `finish` copies out what was written.
 */
export class ScheduleTable {
  readonly #tensors;
  readonly #room: Room;
  readonly #opBegin = [0];
  #blocks = 0;
  #ops = 0;
  #operands = 0;
  #groups = 0;

  constructor(problem: Problem) {
    this.#tensors = attentionTensors(problem);
    this.#room = sharedRoom;
  }

  /** The code of a tensor in `block`; -1 if the problem's pass has no such tensor. */
  tensor(name: string): number {
    return this.#tensors.findIndex((tensor) => tensor.name === name);
  }

  /** The id that the next block gets. */
  get nextBlock(): number {
    return this.#blocks;
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
    const room = this.#room;
    const row = this.#blocks++;
    if (row >= room.blocks) room.growBlocks(row + 1);
    room.tensor[row] = tensor;
    room.part[row] = part;
    room.tokenBegin[row] = tokenBegin;
    room.tokenEnd[row] = tokenEnd;
    room.headBegin[row] = headBegin;
    room.headEnd[row] = headEnd;
    return row;
  }

  /** Adds a block of the same tensor, part and heads for each row `first` up to, not including, `past` of the token ranges. */
  blocksOf(
    tensor: number,
    part: number,
    begin: Int32Array,
    end: Int32Array,
    first: number,
    past: number,
    headBegin: number,
    headEnd: number,
  ): void {
    const room = this.#room;
    let row = this.#blocks;
    this.#blocks += past - first;
    if (this.#blocks > room.blocks) room.growBlocks(this.#blocks);
    for (let range = first; range < past; range++, row++) {
      room.tensor[row] = tensor;
      room.part[row] = part;
      room.tokenBegin[row] = begin[range];
      room.tokenEnd[row] = end[range];
      room.headBegin[row] = headBegin;
      room.headEnd[row] = headEnd;
    }
  }

  /** Adds a block of the same tokens and heads for each tensor: those before `partialFrom` whole, the others as partial sum `part`. */
  blocksByTensor(
    tensors: Int32Array,
    partialFrom: number,
    part: number,
    tokenBegin: number,
    tokenEnd: number,
    headBegin: number,
    headEnd: number,
  ): void {
    const room = this.#room;
    let row = this.#blocks;
    this.#blocks += tensors.length;
    if (this.#blocks > room.blocks) room.growBlocks(this.#blocks);
    for (let i = 0; i < tensors.length; i++, row++) {
      room.tensor[row] = tensors[i];
      room.part[row] = i < partialFrom ? 0 : part;
      room.tokenBegin[row] = tokenBegin;
      room.tokenEnd[row] = tokenEnd;
      room.headBegin[row] = headBegin;
      room.headEnd[row] = headEnd;
    }
  }

  /** The next send or receive belongs to a new group. */
  beginGroup(): void {
    this.#groups++;
  }

  /** A send or receive of the current group; its blocks follow as operands. `groupKind` is an index into `groupKinds`. */
  transfer(isSend: boolean, groupKind: number, peer: number): void {
    this.#op(isSend ? sendCode : recvCode, groupKind, peer, this.#groups - 1);
  }

  /** Adds blocks into the first of them; they follow as operands. */
  reduce(): void {
    this.#op(reduceCode, fullCode, -1, -1);
  }

  /** Merges pairs of (o, lse) into the first of them; they follow as operands. */
  merge(): void {
    this.#op(mergeCode, fullCode, -1, -1);
  }

  /** A tile: its blocks are that of the queries themselves, keys and values, then the others by query and by key. */
  attend(mask: number, query: number, byQuery: number, key: number, byKey: number): void {
    this.#op(attendCode, mask, -1, -1);
    const room = this.#room;
    let operand = this.#operands;
    this.#operands += byQuery + byKey;
    if (this.#operands > room.operands.length) room.growOperands(this.#operands);
    const { operands } = room;
    operands[operand++] = query;
    operands[operand++] = key;
    operands[operand++] = key + 1;
    for (let i = 1; i < byQuery; i++) operands[operand++] = query + i;
    for (let i = 2; i < byKey; i++) operands[operand++] = key + i;
  }

  /** Blocks `first` up to, not including, `past` as operands. */
  operandsOf(first: number, past: number): void {
    const room = this.#room;
    let operand = this.#operands;
    this.#operands += past - first;
    if (this.#operands > room.operands.length) room.growOperands(this.#operands);
    for (let block = first; block < past; block++) room.operands[operand++] = block;
  }

  /** Ends the program of a rank. */
  endRank(): void {
    this.#opBegin.push(this.#ops);
    this.#groups = 0;
  }

  /** The columns, all in one buffer. */
  finish(): Pick<Schedule, "blocks" | "ops" | "opBegin"> {
    const { blocks, ops, operands } = copyOut(this.#room, this.#blocks, this.#ops, this.#operands);
    ops.operandBegin[this.#ops] = this.#operands;
    return { blocks, ops: { ...ops, operands }, opBegin: Int32Array.from(this.#opBegin) };
  }

  #op(kind: number, attribute: number, peer: number, group: number): void {
    const room = this.#room;
    const row = this.#ops++;
    if (row >= room.ops) room.growOps(row + 1);
    room.kind[row] = kind;
    room.attribute[row] = attribute;
    room.peer[row] = peer;
    room.group[row] = group;
    room.operandBegin[row] = this.#operands;
  }
}

/** Columns to write into: of `blocks` blocks, `ops` ops, and operands. */
class Room {
  blocks = 0;
  ops = 0;
  tensor = new Uint8Array(0);
  part = new Int32Array(0);
  tokenBegin = new Int32Array(0);
  tokenEnd = new Int32Array(0);
  headBegin = new Uint16Array(0);
  headEnd = new Uint16Array(0);
  kind = new Uint8Array(0);
  attribute = new Uint8Array(0);
  peer = new Int32Array(0);
  group = new Int32Array(0);
  operandBegin = new Int32Array(0);
  operands = new Int32Array(0);

  growBlocks(needed: number): void {
    this.blocks = Math.max(8192, 2 * needed);
    this.tensor = copied(this.tensor, new Uint8Array(this.blocks));
    this.part = copied(this.part, new Int32Array(this.blocks));
    this.tokenBegin = copied(this.tokenBegin, new Int32Array(this.blocks));
    this.tokenEnd = copied(this.tokenEnd, new Int32Array(this.blocks));
    this.headBegin = copied(this.headBegin, new Uint16Array(this.blocks));
    this.headEnd = copied(this.headEnd, new Uint16Array(this.blocks));
  }

  growOps(needed: number): void {
    this.ops = Math.max(4096, 2 * needed);
    this.kind = copied(this.kind, new Uint8Array(this.ops));
    this.attribute = copied(this.attribute, new Uint8Array(this.ops));
    this.peer = copied(this.peer, new Int32Array(this.ops));
    this.group = copied(this.group, new Int32Array(this.ops));
    this.operandBegin = copied(this.operandBegin, new Int32Array(this.ops));
  }

  growOperands(needed: number): void {
    this.operands = copied(this.operands, new Int32Array(Math.max(16384, 2 * needed)));
  }
}

const sharedRoom = new Room();

function copied<T extends Uint8Array | Uint16Array | Int32Array>(column: T, larger: T): T {
  larger.set(column);
  return larger;
}

/** The columns that were written, one after the other in one buffer: those of the widest numbers first, so that all are aligned. */
function copyOut(room: Room, blocks: number, ops: number, operands: number) {
  const buffer = new ArrayBuffer(4 * (3 * blocks + 3 * ops + 1 + operands) + 2 * 2 * blocks + blocks + 2 * ops);
  let offset = 0;
  const words = (column: Int32Array, length: number, longer = 0) => {
    const copy = new Int32Array(buffer, offset, length + longer);
    offset += copy.byteLength;
    copy.set(column.subarray(0, length));
    return copy;
  };
  const halves = (column: Uint16Array, length: number) => {
    const copy = new Uint16Array(buffer, offset, length);
    offset += copy.byteLength;
    copy.set(column.subarray(0, length));
    return copy;
  };
  const bytes = (column: Uint8Array, length: number) => {
    const copy = new Uint8Array(buffer, offset, length);
    offset += copy.byteLength;
    copy.set(column.subarray(0, length));
    return copy;
  };
  const part = words(room.part, blocks);
  const tokenBegin = words(room.tokenBegin, blocks);
  const tokenEnd = words(room.tokenEnd, blocks);
  const peer = words(room.peer, ops);
  const group = words(room.group, ops);
  const operandBegin = words(room.operandBegin, ops, 1);
  const operandColumn = words(room.operands, operands);
  const headBegin = halves(room.headBegin, blocks);
  const headEnd = halves(room.headEnd, blocks);
  return {
    blocks: { tensor: bytes(room.tensor, blocks), part, tokenBegin, tokenEnd, headBegin, headEnd },
    ops: { kind: bytes(room.kind, ops), attribute: bytes(room.attribute, ops), peer, group, operandBegin },
    operands: operandColumn,
  };
}
