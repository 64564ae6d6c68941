import type { Hierarchy } from "../hierarchy.ts";
import { AtomList, type Owners } from "../place/atom.ts";
import type { Needs, Placement } from "../place/place.ts";
import { sortByKey } from "../radix-sort.ts";
import type { Sharding } from "../shard/shard.ts";
import { type Crossings, HopList, type Hops } from "./hop.ts";
import { shareSending } from "./relay.ts";
import { spread } from "./spread.ts";

export interface Routing {
  /** From the owner to units of its own node. */
  readonly within: Hops;
  /** From the owner's node to one unit of another node (`to`), once for each node that needs a piece. */
  readonly between: Crossings;
}

/**
 * Pass 4, how keys and values travel: a piece enters a node once, at one of the units that need it, which hands it on to
 * the others; crossings are spread evenly over the receivers of a node, and so over its network cards. Gradients go the
 * same ways back. (Hierarchical multicast; the receiver with the sender's place in its node is preferred, as in
 * rail-aligned collectives, so that senders and receivers pair up without hot spots.)
 */
export function route(sharding: Sharding, { needs }: Pick<Placement, "needs">, hierarchy: Hierarchy): Routing {
  const within = new HopList();
  const atoms = new AtomList();
  const { document, unit: unitOf } = needs;
  const owners = ownersInOrder(sharding, needs);
  const live = new Int32Array(document.length);
  let owner = 0;
  for (let first = 0; first < document.length; ) {
    let past = first;
    while (past < document.length && document[past] === document[first]) past++;
    // Owned pieces come in order of position, so a need that ends before one of them is met.
    let count = 0;
    for (let need = first; need < past; need++) live[count++] = need;
    for (; owner < owners.rows.length && owners.document[owners.rows[owner]] === document[first]; owner++) {
      const row = owners.rows[owner];
      count = stillNeeded(needs, live, count, owners.begin[row]);
      for (let at = 0; at < count; ) {
        const node = hierarchy.nodeOfUnit[unitOf[live[at]]];
        let next = at;
        while (next < count && hierarchy.nodeOfUnit[unitOf[live[next]]] === node) next++;
        if (node === hierarchy.nodeOfUnit[owners.unit[row]]) addHops(within, owners, row, needs, live, at, next);
        else atoms.add(owners, row, needs, live, at, next, node);
        at = next;
      }
    }
    first = past;
  }
  const between = spread(atoms, hierarchy);
  return { within, between: shareSending(between, within, hierarchy) };
}

/** The pieces of documents that anybody needs, in order of position, and so of documents. */
function ownersInOrder({ pieceBegin, pieces }: Sharding, needs: Needs): Owners {
  const { document, begin, end } = pieces;
  let documents = 0;
  for (let row = 0; row < document.length; row++) documents = Math.max(documents, document[row] + 1);
  const isNeeded = new Uint8Array(documents);
  for (let row = 0; row < needs.document.length; row++) isNeeded[needs.document[row]] = 1;
  const unit = new Int32Array(document.length);
  const rows = new Int32Array(document.length);
  let count = 0;
  for (let of = 0; of + 1 < pieceBegin.length; of++) {
    for (let row = pieceBegin[of]; row < pieceBegin[of + 1]; row++) {
      unit[row] = of;
      if (isNeeded[document[row]] === 1) rows[count++] = row;
    }
  }
  sortByKey(rows, Uint32Array.from(begin), count);
  return { rows: rows.subarray(0, count), unit, document, begin, end };
}

/** Drops the needs that end at or before `begin`; returns how many are left. */
function stillNeeded({ end }: Needs, live: Int32Array, count: number, begin: number): number {
  let kept = 0;
  for (let i = 0; i < count; i++) {
    if (end[live[i]] > begin) live[kept++] = live[i];
  }
  return kept;
}

/** What needs `live[from]` up to `live[to]` overlap with an owned piece goes straight from its owner. */
function addHops(
  within: HopList,
  owners: Owners,
  row: number,
  needs: Needs,
  live: Int32Array,
  from: number,
  to: number,
): void {
  for (let i = from; i < to; i++) {
    const begin = Math.max(needs.begin[live[i]], owners.begin[row]);
    const end = Math.min(needs.end[live[i]], owners.end[row]);
    if (begin < end) within.push(owners.unit[row], needs.unit[live[i]], owners.document[row], begin, end);
  }
}
