import { doubled } from "../piece.ts";
import type { Needs } from "./place.ts";

/** Owned pieces as columns, and their rows in the order that they are looked at. */
export interface Owners {
  readonly rows: Int32Array;
  readonly unit: Int32Array;
  readonly document: Int32Array;
  readonly begin: Int32Array;
  readonly end: Int32Array;
}

/**
 * Atoms, as columns: pieces all of whose tokens are wanted by the same units of one node. They come in order of position,
 * those of one piece for one node after the other.
 */
export class AtomList {
  length = 0;
  node = new Int32Array(256);
  from = new Int32Array(256);
  document = new Int32Array(256);
  begin = new Int32Array(256);
  end = new Int32Array(256);
  /** The units that want atom i are rows wantedBegin[i] up to, not including, wantedBegin[i + 1] of `wantedBy`. */
  wantedBegin = new Int32Array(257);
  wantedBy = new Int32Array(1024);
  readonly #cuts: number[] = [];

  /** Cuts what needs `live[first]` up to `live[past]`, all of one node, want of an owned piece wherever the set of those who want it changes. */
  add(owners: Owners, row: number, needs: Needs, live: Int32Array, first: number, past: number, node: number): void {
    const ownedBegin = owners.begin[row];
    const ownedEnd = owners.end[row];
    let isWhole = true;
    let isAny = false;
    for (let i = first; i < past; i++) {
      const need = live[i];
      if (needs.begin[need] >= ownedEnd) continue;
      isAny = true;
      if (needs.begin[need] > ownedBegin || needs.end[need] < ownedEnd) isWhole = false;
    }
    if (!isAny) return;
    const unit = owners.unit[row];
    const document = owners.document[row];
    if (isWhole) {
      this.#addOne(needs, live, first, past, node, unit, document, ownedBegin, ownedEnd);
      return;
    }
    const cuts = this.#cutsBetween(needs, live, first, past, ownedBegin, ownedEnd);
    for (let i = 0; i + 1 < cuts.length; i++) {
      this.#addOne(needs, live, first, past, node, unit, document, cuts[i], cuts[i + 1]);
    }
  }

  /** Adds the atom [begin, end) if anybody wants all of it. */
  #addOne(
    needs: Needs,
    live: Int32Array,
    first: number,
    past: number,
    node: number,
    from: number,
    document: number,
    begin: number,
    end: number,
  ): void {
    const atom = this.length;
    let wanted = this.wantedBegin[atom];
    while (wanted + past - first > this.wantedBy.length) this.wantedBy = doubled(this.wantedBy);
    for (let i = first; i < past; i++) {
      if (needs.begin[live[i]] <= begin && needs.end[live[i]] >= end) this.wantedBy[wanted++] = needs.unit[live[i]];
    }
    if (wanted === this.wantedBegin[atom]) return;
    if (atom === this.node.length) this.#grow();
    this.node[atom] = node;
    this.from[atom] = from;
    this.document[atom] = document;
    this.begin[atom] = begin;
    this.end[atom] = end;
    this.length++;
    this.wantedBegin[this.length] = wanted;
  }

  /** Where needs begin and end inside an owned piece, ascending and each once. */
  #cutsBetween(needs: Needs, live: Int32Array, first: number, past: number, begin: number, end: number): number[] {
    const cuts = this.#cuts;
    cuts.length = 0;
    for (let i = first; i < past; i++) {
      if (needs.begin[live[i]] >= end) continue;
      cuts.push(Math.max(needs.begin[live[i]], begin), Math.min(needs.end[live[i]], end));
    }
    cuts.sort((a, b) => a - b);
    let kept = 0;
    for (const cut of cuts) if (kept === 0 || cuts[kept - 1] !== cut) cuts[kept++] = cut;
    cuts.length = kept;
    return cuts;
  }

  #grow(): void {
    this.node = doubled(this.node);
    this.from = doubled(this.from);
    this.document = doubled(this.document);
    this.begin = doubled(this.begin);
    this.end = doubled(this.end);
    const wantedBegin = new Int32Array(this.node.length + 1);
    wantedBegin.set(this.wantedBegin);
    this.wantedBegin = wantedBegin;
  }
}
