import { formatBlock } from "../block.ts";
import { isLayerOp } from "../layer-op.ts";
import { type OpKind, opKinds } from "../op.ts";
import { blockAt, type Schedule } from "../schedule.ts";
import { rowsOf } from "../tensor.ts";
import type { FindingLog } from "./finding.ts";
import { type OperandFault as Fault, layerOpFault } from "./layer-operands.ts";

/**
 * Part of `availability`: an op finds what it needs among its operands. Every block lies inside its tensor, and the blocks of
 * one op belong to the same rows: those of q, o and lse (or their gradients) to the same queries and heads, those of k and v to
 * the same keys, with a kv head for each query head.
 */
export function checkOperands(schedule: Schedule, log: FindingLog): void {
  const check = new OperandCheck(schedule);
  for (let row = 0; row < schedule.ops.kind.length; row++) {
    const fault = check.faultOf(row);
    if (fault !== undefined) log.add("availability", { row, ...fault }, fault.what);
  }
}

/** Query heads for each head of every tensor: 1 for q and its like, the group size for k and v. */
export const queryHeadsOf = ({ tensors, problem }: Schedule): number[] =>
  tensors.map(({ heads }) => problem.shape.heads / heads);

/** What stands at each position of a tile op: rows of queries (scores too), or rows of keys. */
const tileRows = {
  forward: { attend: "q k k q q", score: "q k q", weigh: "q k q" },
  backward: { attend: "q k k q q q q k k", score: "q k q", weigh: "q k q q k", unscore: "q q k q k" },
} as const;

/** The positions at which a tile op adds to an output, or a partial sum of it; an output may stand nowhere else. */
const tileOutputs = {
  forward: { attend: { 3: "o", 4: "lse" }, weigh: { 2: "o" } },
  backward: { attend: { 6: "dq", 7: "dk", 8: "dv" }, weigh: { 4: "dv" }, unscore: { 3: "dq", 4: "dk" } },
} as const;

class OperandCheck {
  /** Extent of the first axis of each tensor. */
  readonly #rows: readonly number[];
  /** Query heads for each head of a tensor, to compare blocks of tensors with different head counts. */
  readonly #queryHeads: readonly number[];
  /** Tensors that equations define. */
  readonly #defined: ReadonlySet<string>;
  readonly #tileRows: Readonly<Partial<Record<OpKind, readonly string[]>>>;
  readonly #tileOutputs: Readonly<Partial<Record<OpKind, Readonly<Record<number, string>>>>>;

  constructor(private readonly schedule: Schedule) {
    const { pass } = schedule.problem;
    this.#rows = schedule.tensors.map((spec) => rowsOf(spec, schedule.problem));
    this.#queryHeads = queryHeadsOf(schedule);
    this.#defined = new Set((schedule.equations ?? []).flatMap(({ writes }) => writes));
    this.#tileRows = Object.fromEntries(Object.entries(tileRows[pass]).map(([kind, rows]) => [kind, rows.split(" ")]));
    this.#tileOutputs = tileOutputs[pass];
  }

  faultOf(row: number): Fault | undefined {
    const { ops } = this.schedule;
    const ids = ops.operands.subarray(ops.operandBegin[row], ops.operandBegin[row + 1]);
    const outside = ids.find((id) => !this.#isInside(id));
    if (outside !== undefined) {
      const { heads, rows } = this.#specOf(outside);
      const axis = rows === undefined ? "tokens" : "rows";
      const extent = this.#rows[this.schedule.blocks.tensor[outside]];
      return { what: `not a piece of ${extent} ${axis} and ${heads} heads`, block: outside };
    }
    const kind = opKinds[ops.kind[row]];
    if (isLayerOp(kind)) return layerOpFault(this.schedule, kind, ids);
    switch (kind) {
      case "send":
      case "recv":
        return undefined;
      case "merge":
        return (
          this.#count(ids, ids.length >= 2 && ids.length % 2 === 0, "o, lse, then pairs of them") ?? this.#merge(ids)
        );
      case "softmax":
        return this.#count(ids, ids.length >= 2, "lse, then s parts") ?? this.#softmax(ids);
      case "reduce":
        return this.#count(ids, ids.length >= 1, "a target, then sources") ?? this.#reduce(ids);
      case "copy":
        return this.#count(ids, ids.length === 2, "a target and a source") ?? this.#reduce(ids);
      default:
        return this.#tile(kind, ids);
    }
  }

  #tile(kind: OpKind, ids: Int32Array): Fault | undefined {
    const rows = this.#tileRows[kind];
    if (rows === undefined) return { what: `no such op in a ${this.schedule.problem.pass} pass` };
    if (ids.length !== rows.length) return { what: `${ids.length} blocks (must be ${rows.length})` };
    const q = ids[rows.indexOf("q")];
    const k = ids[rows.indexOf("k")];
    for (let i = 0; i < ids.length; i++) {
      const first = rows[i] === "q" ? q : k;
      if (!this.#haveSameRows(first, ids[i])) return this.#otherRows(ids[i], first);
      const fault = this.#outputFault(ids[i], this.#tileOutputs[kind]?.[i]);
      if (fault !== undefined) return fault;
    }
    const keys = this.schedule.blocks.tokenEnd[k] - this.schedule.blocks.tokenBegin[k];
    if (kind === "score" && this.#specOf(ids[2]).width < keys)
      return { what: `has no columns for ${keys} keys`, block: ids[2] };
    const [qBegin, qEnd] = this.#queryHeadRange(q);
    const [kBegin, kEnd] = this.#queryHeadRange(k);
    if (kBegin <= qBegin && kEnd >= qEnd) return undefined;
    return { what: `has no key heads for query heads ${qBegin}:${qEnd}`, block: k };
  }

  #merge(ids: Int32Array): Fault | undefined {
    for (let i = 0; i < ids.length; i++) {
      if (!this.#haveSameRows(ids[0], ids[i])) return this.#otherRows(ids[i], ids[0]);
      const fault = this.#outputFault(ids[i], i % 2 === 0 ? "o" : "lse");
      if (fault !== undefined) return fault;
    }
    return undefined;
  }

  #softmax(ids: Int32Array): Fault | undefined {
    const other = ids.find((id) => !this.#haveSameRows(ids[0], id));
    if (other !== undefined) return this.#otherRows(other, ids[0]);
    const lse = this.#specOf(ids[0]);
    return lse.name === "lse" || (lse.role === "internal" && lse.width === 1)
      ? undefined
      : { what: "is not lse, or a partial of it", block: ids[0] };
  }

  #reduce(ids: Int32Array): Fault | undefined {
    const target = this.#specOf(ids[0]);
    if (target.role === "input") return { what: "an input cannot be written", block: ids[0] };
    const other = ids.find((id) => !this.#haveSameRows(ids[0], id) || this.#specOf(id).width !== target.width);
    return other === undefined ? undefined : this.#otherRows(other, ids[0]);
  }

  /** `name` is the output that belongs here, if one does. */
  #outputFault(id: number, name: string | undefined): Fault | undefined {
    const { role, name: own, width } = this.#specOf(id);
    // What equations define may be read wherever it is complete, which the replay sees to.
    if (name === undefined)
      return role === "output" && !this.#defined.has(own)
        ? { what: "an output cannot be read here", block: id }
        : undefined;
    const fits =
      role === "internal" ? width === (name === "lse" ? 1 : this.schedule.problem.shape.headDim) : own === name;
    return fits && role !== "input" ? undefined : { what: `is not ${name}, or a partial sum of it`, block: id };
  }

  #count(ids: Int32Array, isRight: boolean, rule: string): Fault | undefined {
    return isRight ? undefined : { what: `${ids.length} blocks (must be ${rule})` };
  }

  #otherRows(id: number, first: number): Fault {
    return { what: `not the same rows as ${formatBlock(blockAt(this.schedule, first))}`, block: id };
  }

  #specOf(id: number) {
    return this.schedule.tensors[this.schedule.blocks.tensor[id]];
  }

  #isInside(id: number): boolean {
    const { tokenBegin, tokenEnd, headBegin, headEnd } = this.schedule.blocks;
    return (
      tokenBegin[id] >= 0 &&
      tokenBegin[id] < tokenEnd[id] &&
      tokenEnd[id] <= this.#rows[this.schedule.blocks.tensor[id]] &&
      headBegin[id] < headEnd[id] &&
      headEnd[id] <= this.#specOf(id).heads
    );
  }

  #haveSameRows(a: number, b: number): boolean {
    const { blocks } = this.schedule;
    if (blocks.tokenBegin[a] !== blocks.tokenBegin[b] || blocks.tokenEnd[a] !== blocks.tokenEnd[b]) return false;
    const perHeadA = this.#queryHeads[blocks.tensor[a]];
    const perHeadB = this.#queryHeads[blocks.tensor[b]];
    return (
      blocks.headBegin[a] * perHeadA === blocks.headBegin[b] * perHeadB &&
      blocks.headEnd[a] * perHeadA === blocks.headEnd[b] * perHeadB
    );
  }

  #queryHeadRange(id: number): [number, number] {
    const { blocks } = this.schedule;
    const perHead = this.#queryHeads[blocks.tensor[id]];
    return [blocks.headBegin[id] * perHead, blocks.headEnd[id] * perHead];
  }
}
