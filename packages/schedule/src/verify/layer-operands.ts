import { formatBlock } from "../block.ts";
import { type LayerOpKind, layerOpShapes } from "../layer-op.ts";
import { blockAt, type Schedule } from "../schedule.ts";
import { rowsOf } from "../tensor.ts";

/** What is wrong with the blocks of an op, and with which of them. */
export interface OperandFault {
  readonly what: string;
  readonly block?: number;
}

/** Whether the blocks of a layer's op fit together: rows, column groups and widths. */
export function layerOpFault(schedule: Schedule, kind: LayerOpKind, ids: Int32Array): OperandFault | undefined {
  const { reads, writes } = layerOpShapes[kind];
  if (ids.length !== reads + writes) return { what: `${ids.length} blocks (must be ${reads + writes})` };
  const blocks = new OpBlocks(schedule, ids);
  for (let i = reads; i < ids.length; i++) {
    if (blocks.spec(i).role === "input") return { what: "an input cannot be written", block: ids[i] };
  }
  const [at, rule] = faultOf(kind, blocks) ?? [];
  return at === undefined ? undefined : { what: `${rule} (beside ${formatBlock(blocks.block(0))})`, block: ids[at] };
}

type Fault = readonly [position: number, rule: string];

function faultOf(kind: LayerOpKind, b: OpBlocks): Fault | undefined {
  switch (kind) {
    case "linear":
      return b.product(2, 0, 1);
    case "linearInputGradient":
      return b.product(0, 2, 1);
    case "linearWeightGradient":
      return b.product(1, 0, 2);
    case "rmsNorm":
      return b.like(2, 0) ?? b.gain(1);
    case "rmsNormGradient":
      return b.like(2, 0) ?? b.like(3, 0) ?? b.gain(1) ?? b.gain(4);
    case "rotary":
    case "rotaryGradient":
      if (b.spec(0).width % 2 !== 0 || b.spec(0).rows !== undefined)
        return [0, "must have tokens, and heads of even width"];
      return b.like(1, 0);
    case "swiglu":
      return b.like(1, 0) ?? b.like(2, 0);
    case "swigluGradient":
      return b.like(1, 0) ?? b.like(2, 0) ?? b.like(3, 0) ?? b.like(4, 0);
    case "add":
      return b.like(1, 0);
    case "rowDot":
      return b.like(1, 0) ?? b.rows(2, 0) ?? b.groups(2, 0) ?? b.width(2, 1);
    case "embed":
      return b.lookup(0, 1, 2);
    case "embedGradient":
      return b.lookup(0, 2, 1);
    case "crossEntropy":
      return b.like(3, 0) ?? b.rows(1, 0) ?? b.width(1, 2) ?? b.rows(2, 0) ?? b.width(2, 1) ?? b.wholeRows(0);
    case "rowLogSumExp":
      return b.rows(1, 0) ?? b.groups(1, 0) ?? b.width(1, 1);
    case "splitCrossEntropy":
      return (
        b.like(4, 0) ??
        b.rows(1, 0) ??
        b.width(1, 2) ??
        b.rows(2, 0) ??
        b.width(2, 1) ??
        b.allGroups(2, 0) ??
        b.rows(3, 0) ??
        b.width(3, 1)
      );
  }
}

/** The blocks of one op; each rule names the block that breaks it. */
class OpBlocks {
  constructor(
    private readonly schedule: Schedule,
    private readonly ids: Int32Array,
  ) {}

  block(i: number) {
    return blockAt(this.schedule, this.ids[i]);
  }
  spec(i: number) {
    return this.schedule.tensors[this.schedule.blocks.tensor[this.ids[i]]];
  }
  rows(i: number, j: number): Fault | undefined {
    const [a, b] = [this.block(i), this.block(j)];
    return a.tokenBegin === b.tokenBegin && a.tokenEnd === b.tokenEnd ? undefined : [i, "not the same rows"];
  }
  groups(i: number, j: number): Fault | undefined {
    const [a, b] = [this.block(i), this.block(j)];
    return a.headBegin === b.headBegin && a.headEnd === b.headEnd ? undefined : [i, "not the same column groups"];
  }
  width(i: number, width: number): Fault | undefined {
    return this.spec(i).width === width ? undefined : [i, `has width ${this.spec(i).width} (must be ${width})`];
  }
  like(i: number, j: number): Fault | undefined {
    return this.rows(i, j) ?? this.groups(i, j) ?? this.width(i, this.spec(j).width);
  }
  wholeRows(i: number): Fault | undefined {
    return this.spec(i).heads === 1 ? undefined : [i, "must be one column group"];
  }
  allGroups(i: number, j: number): Fault | undefined {
    const { headBegin, headEnd } = this.block(i);
    const { heads } = this.spec(j);
    return headBegin === 0 && headEnd === heads ? undefined : [i, `must be all ${heads} column groups`];
  }
  gain(i: number): Fault | undefined {
    const { tokenBegin, tokenEnd } = this.block(i);
    const columns = this.spec(0).width;
    if (tokenBegin !== 0 || tokenEnd !== columns || rowsOf(this.spec(i), this.schedule.problem) !== columns)
      return [i, `must have a row for each of ${columns} columns`];
    return this.width(i, 1) ?? this.wholeRows(0);
  }
  product(y: number, x: number, w: number): Fault | undefined {
    const { headBegin, headEnd } = this.block(x);
    const weight = this.block(w);
    const size = this.spec(x).width;
    if (headBegin * size !== weight.tokenBegin || headEnd * size !== weight.tokenEnd)
      return [w, `not the rows of columns ${headBegin * size}:${headEnd * size}`];
    return this.rows(y, x) ?? this.groups(y, w) ?? this.width(y, this.spec(w).width);
  }
  lookup(ids: number, e: number, y: number): Fault | undefined {
    return this.width(ids, 1) ?? this.rows(y, ids) ?? this.groups(y, e) ?? this.width(y, this.spec(e).width);
  }
}
