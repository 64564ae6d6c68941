import { tokensOf } from "@hsap/workload";
import { GrowingColumn } from "../column.ts";
import type { Equation } from "../equation.ts";
import type { LayerOpKind } from "../layer-op.ts";
import type { Schedule } from "../schedule.ts";
import { rowsOf } from "../tensor.ts";

/** Contents of sums of terms are numbers from here on; those of attention's sums lie below. */
export const firstTermContent = 2 ** 30;

/** One result of an equation: a term of the tensor `target`. */
export interface Term {
  readonly equation: Equation;
  readonly target: number;
  /** How far its contraction goes: a sum must hold it from 0 to here, once. */
  readonly extent: number;
}

/** What some op computes along the contraction of its equation, in columns, rows or tokens of what it reads. */
export interface Contraction {
  /** Position among the blocks that the op reads. */
  readonly read: number;
  readonly axis: "rows" | "columns";
}

/** The contraction of each result of an op, or none: then the op computes the whole term for the rows that it writes. */
export const contractions: Readonly<Partial<Record<LayerOpKind, readonly (Contraction | undefined)[]>>> = {
  linear: [{ read: 1, axis: "rows" }],
  linearInputGradient: [{ read: 0, axis: "columns" }],
  linearWeightGradient: [{ read: 0, axis: "rows" }],
  rmsNormGradient: [undefined, { read: 0, axis: "rows" }],
  embed: [{ read: 1, axis: "rows" }],
  embedGradient: [{ read: 0, axis: "rows" }],
  splitCrossEntropy: [{ read: 0, axis: "columns" }, undefined],
};

const [appended, joined] = [0, 1];

/**
 * Sums of terms, as a graph that only grows: what was added to a block, and over which part of each contraction. Blocks that are
 * sent share their rows with the receiver.
 */
export class Terms {
  readonly terms: readonly Term[];
  /** Terms of each tensor, by index of the tensor. */
  readonly ofTensor: readonly (readonly number[])[];
  readonly #kind = new GrowingColumn(Uint8Array);
  /** appended: content before (a row, or -1), term. joined: two rows. */
  readonly #left = new GrowingColumn(Int32Array);
  readonly #right = new GrowingColumn(Int32Array);
  readonly #begin = new GrowingColumn(Int32Array);
  readonly #end = new GrowingColumn(Int32Array);

  constructor(schedule: Schedule) {
    const names = schedule.tensors.map(({ name }) => name);
    this.terms = (schedule.equations ?? []).flatMap((equation) =>
      equation.writes.map((name, slot) => ({
        equation,
        target: names.indexOf(name),
        extent: extentOf(schedule, equation, slot),
      })),
    );
    this.ofTensor = names.map((_, tensor) =>
      this.terms.flatMap(({ target }, term) => (target === tensor ? [term] : [])),
    );
  }

  /** Adds part of a term to a sum; `content` below `firstTermContent` is an empty one. */
  append(content: number, term: number, begin: number, end: number): number {
    return this.#make(appended, content, term, begin, end);
  }

  join(a: number, b: number): number {
    if (a < firstTermContent) return b;
    if (b < firstTermContent) return a;
    return this.#make(joined, a, b - firstTermContent, 0, 0);
  }

  /** What keeps a sum from being the value of `tensor`, or nothing. */
  faultOf(content: number, tensor: number): string | undefined {
    const found = new Map<number, [begin: number, end: number][]>();
    this.#forEach(content, (term, begin, end) => {
      found.set(term, [...(found.get(term) ?? []), [begin, end]]);
    });
    for (const [term] of found)
      if (this.terms[term].target !== tensor) return `holds a term of another tensor (${this.terms[term].equation.op})`;
    for (const term of this.ofTensor[tensor]) {
      const { equation, extent } = this.terms[term];
      const what = `${equation.op} ${equation.reads.join(" ")}`;
      let covered = 0;
      for (const [begin, end] of (found.get(term) ?? []).sort((a, b) => a[0] - b[0])) {
        if (begin < covered) return `has ${begin}:${Math.min(end, covered)} of ${what} twice`;
        if (begin > covered) return `lacks ${covered}:${begin} of ${what}`;
        covered = end;
      }
      if (covered < extent) return `lacks ${covered}:${extent} of ${what}`;
    }
    return undefined;
  }

  #forEach(content: number, visit: (term: number, begin: number, end: number) => void): void {
    const waiting = [content - firstTermContent];
    for (let at = waiting.pop(); at !== undefined; at = waiting.pop()) {
      while (at >= 0 && this.#kind.at(at) === appended) {
        visit(this.#right.at(at), this.#begin.at(at), this.#end.at(at));
        at = this.#left.at(at);
      }
      if (at >= 0) waiting.push(this.#left.at(at), this.#right.at(at));
    }
  }

  #make(kind: number, left: number, right: number, begin: number, end: number): number {
    this.#kind.push(kind);
    this.#left.push(left < firstTermContent ? -1 : left - firstTermContent);
    this.#right.push(right);
    this.#begin.push(begin);
    this.#end.push(end);
    return firstTermContent + this.#kind.length - 1;
  }
}

function extentOf({ tensors, problem }: Schedule, { op, reads }: Equation, slot: number): number {
  const contraction = contractions[op]?.[slot];
  if (contraction === undefined) return 1;
  const spec = tensors.find(({ name }) => name === reads[contraction.read]);
  if (spec === undefined) return tokensOf(problem.batch);
  return contraction.axis === "rows" ? rowsOf(spec, problem) : spec.heads * spec.width;
}
