import { opKinds, type Pass, type Schedule, tileMasks, wireBytesOf } from "@hsap/schedule";
import { type RegisterTile, type TileShape, tileTerms, tileTermsOf } from "./tile-terms.ts";

/**
 * What the processor time of each kind of op is made of; an op costs the sum of its terms, each times a time that was measured.
 * - `op`: once; `head`, `row`: heads, and rows of all heads; `element`: elements that are read and written;
 * - `pair`, `pairWidth`: (query, key) pairs of the whole rectangle, and those times headDim;
 * - `farPair`: pairs beyond those that a second-level cache holds;
 * - `message`, `block`, `byte` (transfers): sends and receives, blocks handed over, and bytes that the receiver copies.
 */
export const opTerms = {
  attendForward: tileTerms.forward,
  attendBackward: tileTerms.backward,
  merge: ["op", "row", "element"],
  reduce: ["op", "row", "element"],
  copy: ["op", "row", "element"],
  score: ["head", "keyWidth", "pair", "pairWidth"],
  softmaxForward: ["row", "pair", "farPair"],
  softmaxBackward: ["row", "pair", "farPair"],
  weighForward: ["head", "keyWidth", "pair", "pairWidth"],
  weighBackward: ["head", "keyWidth", "pair", "pairWidth"],
  unscore: ["head", "keyWidth", "pair", "pairWidth"],
  empty: ["region", "element"],
  group: ["group", "message", "block", "byte"],
} as const satisfies Record<string, readonly string[]>;

export type OpTermKind = keyof typeof opTerms;

/** The kind that a computation op is priced as; undefined for one that nobody has measured. */
export function termKindOf(kind: string, pass: Pass): OpTermKind | undefined {
  const ofPass = `${kind}${pass === "forward" ? "Forward" : "Backward"}`;
  if (ofPass in opTerms) return ofPass as OpTermKind;
  return kind in opTerms ? (kind as OpTermKind) : undefined;
}

/** How many of each of its kind's terms a computation op takes. */
export function termsOfOp(schedule: Schedule, op: number, registers: RegisterTile): readonly number[] {
  const { ops } = schedule;
  const kind = opKinds[ops.kind[op]];
  switch (kind) {
    case "attend":
      return attendTerms(schedule, op, registers);
    case "score":
      return rectangleTerms(schedule, op, 0, 1);
    case "weigh":
      return rectangleTerms(schedule, op, 2, 1);
    case "unscore":
      return rectangleTerms(schedule, op, 1, 2);
    case "softmax":
      return softmaxTerms(schedule, op);
    default:
      return elementTerms(schedule, op);
  }
}

function attendTerms(schedule: Schedule, op: number, registers: RegisterTile): number[] {
  const { ops, blocks, problem } = schedule;
  const { heads, kvHeads, headDim } = problem.shape;
  const q = ops.operands[ops.operandBegin[op]];
  const k = ops.operands[ops.operandBegin[op] + 1];
  const causal = tileMasks[ops.attribute[op]] === "causal";
  const tile: Omit<TileShape, "groupSize"> = {
    queries: blocks.tokenEnd[q] - blocks.tokenBegin[q],
    keys: blocks.tokenEnd[k] - blocks.tokenBegin[k],
    causalOffset: causal ? blocks.tokenBegin[q] - blocks.tokenBegin[k] : undefined,
    headDim,
  };
  // All kv heads but the first and the last serve whole groups of the tile's query heads.
  const groupSize = heads / kvHeads;
  const sum: number[] = [];
  let known = { size: 0, terms: sum };
  for (let head = blocks.headBegin[q]; head < blocks.headEnd[q]; ) {
    const end = Math.min(blocks.headEnd[q], (Math.floor(head / groupSize) + 1) * groupSize);
    if (known.size !== end - head)
      known = { size: end - head, terms: tileTermsOf({ ...tile, groupSize: end - head }, problem.pass, registers) };
    known.terms.forEach((count, i) => {
      sum[i] = (sum[i] ?? 0) + count;
    });
    head = end;
  }
  return sum;
}

/** Products over the rectangle of a block of queries and one of keys. */
function rectangleTerms({ ops, blocks, problem }: Schedule, op: number, query: number, key: number): number[] {
  const block = (position: number) => ops.operands[ops.operandBegin[op] + position];
  const tokens = (id: number) => blocks.tokenEnd[id] - blocks.tokenBegin[id];
  const [q, k] = [block(query), block(key)];
  const heads = blocks.headEnd[q] - blocks.headBegin[q];
  const { headDim } = problem.shape;
  const pairs = heads * tokens(q) * tokens(k);
  return [heads, heads * tokens(k) * headDim, pairs, pairs * headDim];
}

/** A megabyte of fp32. */
const cachedPairs = 2 ** 18;

/** Elements of all parts of the scores. */
function softmaxTerms({ ops, blocks, tensors }: Schedule, op: number): number[] {
  const lse = ops.operands[ops.operandBegin[op]];
  const rows = (blocks.tokenEnd[lse] - blocks.tokenBegin[lse]) * (blocks.headEnd[lse] - blocks.headBegin[lse]);
  let pairs = 0;
  for (let i = ops.operandBegin[op] + 1; i < ops.operandBegin[op + 1]; i++)
    pairs += rows * tensors[blocks.tensor[ops.operands[i]]].width;
  return [rows, pairs, Math.max(0, pairs - cachedPairs)];
}

/** Everything that an op reads, row by row; of a merge, its partials. */
function elementTerms({ ops, blocks, tensors }: Schedule, op: number): number[] {
  let [sources, rows, elements] = [0, 0, 0];
  for (let i = ops.operandBegin[op] + 1; i < ops.operandBegin[op + 1]; i++) {
    const id = ops.operands[i];
    const count = (blocks.tokenEnd[id] - blocks.tokenBegin[id]) * (blocks.headEnd[id] - blocks.headBegin[id]);
    sources++;
    rows += count;
    elements += count * tensors[blocks.tensor[id]].width;
  }
  return [sources, rows, elements];
}

/** Of a send or receive whose blocks are all copied; what a group costs by itself lies with the first of its ops. */
export function groupTermsOf(schedule: Schedule, op: number): number[] {
  const { ops } = schedule;
  const isFirst = op === 0 || ops.group[op - 1] !== ops.group[op] || schedule.opBegin.includes(op);
  const blocks = ops.operandBegin[op + 1] - ops.operandBegin[op];
  let bytes = 0;
  if (opKinds[ops.kind[op]] === "recv")
    for (let i = ops.operandBegin[op]; i < ops.operandBegin[op + 1]; i++) bytes += operandBytes(schedule, i);
  return [isFirst ? 1 : 0, 1, blocks, bytes];
}

/** Bytes of an operand on the wire. */
export function operandBytes({ ops, blocks, tensors }: Schedule, operand: number): number {
  const id = ops.operands[operand];
  const rows = (blocks.tokenEnd[id] - blocks.tokenBegin[id]) * (blocks.headEnd[id] - blocks.headBegin[id]);
  return rows * wireBytesOf(tensors[blocks.tensor[id]]);
}
