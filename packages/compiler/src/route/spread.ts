import type { Hierarchy } from "../hierarchy.ts";
import { doubled } from "../piece.ts";
import type { AtomList } from "../place/atom.ts";
import { rowNumbers, sortByKey } from "../radix-sort.ts";
import { type Crossings, HopList } from "./hop.ts";

/** Pieces are not cut finer than this (tokens) for the sake of even receivers: small transfers cost latency. */
const smallestCut = 256;

/**
 * Chooses a receiver for every atom among the units that want it, cutting atoms where that evens out what the receivers
 * of a node take in.
 */
export function spread(atoms: AtomList, { unitBegin, nodeOfUnit, units }: Hierarchy): Crossings {
  const { node: nodeOf, from: fromOf, wantedBegin, wantedBy } = atoms;
  const crossings = new HopList();
  let atomOf = new Int32Array(256);
  const load = new Int32Array(units);
  const share = sharesOf(atoms, unitBegin);
  const place = Int32Array.from(nodeOfUnit, (node, unit) => unit - unitBegin[node]);
  const order = inOrder(atoms);
  for (let i = 0; i < order.length; i++) {
    const atom = order[i];
    const node = nodeOf[atom];
    const from = fromOf[atom];
    const first = wantedBegin[atom];
    const past = wantedBegin[atom + 1];
    let sameRail = -1;
    for (let j = first; j < past && sameRail < 0; j++) if (place[wantedBy[j]] === place[from]) sameRail = wantedBy[j];
    const end = atoms.end[atom];
    for (let at = atoms.begin[atom]; at < end; ) {
      let to = sameRail;
      if (sameRail < 0 || load[sameRail] + (end - at) > share[node] + smallestCut) {
        to = wantedBy[first];
        for (let j = first + 1; j < past; j++) if (load[wantedBy[j]] < load[to]) to = wantedBy[j];
      }
      const room = Math.max(share[node] - load[to], smallestCut);
      const until = past - first === 1 || end - at <= room + smallestCut ? end : at + room;
      load[to] += until - at;
      if (crossings.length === atomOf.length) atomOf = doubled(atomOf);
      atomOf[crossings.length] = atom;
      crossings.push(from, to, atoms.document[atom], at, until);
      at = until;
    }
  }
  const { length, to, document, begin, end } = crossings;
  const relay = new Int32Array(length).fill(-1);
  const owner = crossings.from.slice(0, length);
  return { length, owner, from: crossings.from, to, document, begin, end, relay, atom: atomOf, wantedBegin, wantedBy };
}

/** What each unit of a node takes in if all take the same, rounded up. */
function sharesOf({ length, node, begin, end }: AtomList, unitBegin: readonly number[]): Float64Array {
  const share = new Float64Array(unitBegin.length - 1);
  for (let atom = 0; atom < length; atom++) share[node[atom]] += end[atom] - begin[atom];
  return share.map((tokens, of) => Math.ceil(tokens / (unitBegin[of + 1] - unitBegin[of])));
}

/** Node after node. Who has little choice chooses first; large atoms before small ones, which then even out the rest. */
function inOrder({ length, node, begin, end, wantedBegin }: AtomList): Int32Array {
  const order = rowNumbers(length);
  const keys = new Uint32Array(length);
  for (let atom = 0; atom < length; atom++) keys[atom] = 0x7fffffff - (end[atom] - begin[atom]);
  sortByKey(order, keys);
  for (let atom = 0; atom < length; atom++) keys[atom] = wantedBegin[atom + 1] - wantedBegin[atom];
  sortByKey(order, keys);
  for (let atom = 0; atom < length; atom++) keys[atom] = node[atom];
  sortByKey(order, keys);
  return order;
}
