import type { Hierarchy } from "./hierarchy.ts";
import { byPosition, type Piece } from "./piece.ts";
import type { Need, Placement } from "./place.ts";
import { shareSending } from "./relay.ts";
import type { Sharding } from "./shard.ts";

/** A piece of keys and values on its way from one unit to another. */
export interface Hop extends Piece {
  readonly from: number;
  readonly to: number;
}

/** A piece that crosses to another node. */
export interface Crossing extends Hop {
  /** Who owns it; `from` may be another unit of the owner's node that has it by then. */
  readonly owner: number;
  /** The other units of the receiver's node that need it. */
  readonly handOnTo: readonly number[];
}

export interface Routing {
  /** From the owner to units of its own node. */
  readonly within: readonly Hop[];
  /** From the owner's node to one unit of another node, once for each node that needs it. */
  readonly between: readonly Crossing[];
}

/**
 * Pass 4, how keys and values travel: a piece enters a node once, at one of the units that need it, which hands it on to
 * the others; crossings are spread evenly over the receivers of a node, and so over its network cards. Gradients go the
 * same ways back. (Hierarchical multicast; the receiver with the sender's place in its node is preferred, as in
 * rail-aligned collectives, so that senders and receivers pair up without hot spots.)
 */
export function route(sharding: Sharding, placement: Placement, hierarchy: Hierarchy): Routing {
  const owners = ownersByDocument(sharding, placement);
  const within: Hop[] = [];
  const atoms: Atom[][] = hierarchy.unitBegin.slice(1).map(() => []);
  for (const [document, needs] of [...placement.needs].sort(([a], [b]) => a - b)) {
    const needsByNode = byNode(needs, hierarchy);
    for (const owned of owners.get(document) ?? []) {
      for (const [node, wanted] of needsByNode) {
        const wantedHere = overlapping(owned, wanted);
        if (wantedHere.length === 0) continue;
        if (node === hierarchy.nodeOfUnit[owned.unit]) {
          for (const { unit, begin, end } of wantedHere)
            within.push({ from: owned.unit, to: unit, document, begin, end });
        } else {
          atoms[node].push(...atomsOf(owned, wantedHere));
        }
      }
    }
  }
  const between = atoms.flatMap((of, node) => spread(of, hierarchy, node));
  return { within, between: shareSending(between, within, hierarchy) };
}

/** A piece all of whose tokens are wanted by the same units of one node. */
interface Atom extends Piece {
  readonly from: number;
  readonly wantedBy: readonly number[];
}

function ownersByDocument(sharding: Sharding, { needs }: Placement): Map<number, Need[]> {
  const owners = new Map<number, Need[]>([...needs.keys()].map((document) => [document, []]));
  sharding.forEach((pieces, unit) => {
    for (const piece of pieces) owners.get(piece.document)?.push({ unit, ...piece });
  });
  for (const pieces of owners.values()) pieces.sort(byPosition);
  return owners;
}

function byNode(needs: readonly Need[], { nodeOfUnit }: Hierarchy): Map<number, Need[]> {
  const groups = new Map<number, Need[]>();
  for (const need of needs) {
    const group = groups.get(nodeOfUnit[need.unit]);
    if (group === undefined) groups.set(nodeOfUnit[need.unit], [need]);
    else group.push(need);
  }
  return groups;
}

function overlapping(owned: Need, wanted: readonly Need[]): Need[] {
  const overlaps: Need[] = [];
  for (const { unit, document, begin, end } of wanted) {
    if (begin < owned.end && end > owned.begin) {
      overlaps.push({ unit, document, begin: Math.max(begin, owned.begin), end: Math.min(end, owned.end) });
    }
  }
  return overlaps;
}

/** Cuts what is wanted of one owned piece wherever the set of those who want it changes. */
function atomsOf({ unit, document, begin, end }: Need, wanted: readonly Need[]): Atom[] {
  if (wanted.every((need) => need.begin === begin && need.end === end)) {
    return [{ from: unit, document, begin, end, wantedBy: wanted.map((need) => need.unit) }];
  }
  const cuts = [...new Set(wanted.flatMap((need) => [need.begin, need.end]))].sort((a, b) => a - b);
  const atoms: Atom[] = [];
  for (let i = 0; i + 1 < cuts.length; i++) {
    const [from, to] = [cuts[i], cuts[i + 1]];
    const wantedBy = wanted.filter((need) => need.begin <= from && need.end >= to).map((need) => need.unit);
    if (wantedBy.length > 0) atoms.push({ from: unit, document, begin: from, end: to, wantedBy });
  }
  return atoms;
}

/** Pieces are not cut finer than this (tokens) for the sake of even receivers: small transfers cost latency. */
const smallestCut = 256;

/** Chooses a receiver for every atom that enters `node`, cutting atoms where that evens out what the receivers take in. */
function spread(atoms: readonly Atom[], hierarchy: Hierarchy, node: number): Crossing[] {
  const first = hierarchy.unitBegin[node];
  const count = hierarchy.unitBegin[node + 1] - first;
  const load = new Float64Array(count);
  const size = ({ begin, end }: Piece) => end - begin;
  const share = Math.ceil(atoms.reduce((sum, atom) => sum + size(atom), 0) / count);
  const place = (unit: number) => unit - hierarchy.unitBegin[hierarchy.nodeOfUnit[unit]];
  const crossings: Crossing[] = [];
  // Who has little choice chooses first; large atoms before small ones, which then even out the rest.
  const order = [...atoms].sort(
    (a, b) => a.wantedBy.length - b.wantedBy.length || size(b) - size(a) || a.begin - b.begin,
  );
  for (const { from, document, begin, end, wantedBy } of order) {
    const loadOf = (unit: number) => load[unit - first];
    for (let at = begin; at < end; ) {
      const sameRail = wantedBy.find((unit) => place(unit) === place(from));
      const least = wantedBy.reduce((a, b) => (loadOf(b) < loadOf(a) ? b : a));
      const fits = sameRail !== undefined && loadOf(sameRail) + (end - at) <= share + smallestCut;
      const to = fits ? sameRail : least;
      const room = Math.max(share - loadOf(to), smallestCut);
      const isWhole = wantedBy.length === 1 || end - at <= room + smallestCut;
      const until = isWhole ? end : at + Math.floor(room);
      load[to - first] += until - at;
      const handOnTo = wantedBy.filter((unit) => unit !== to);
      crossings.push({ owner: from, from, to, document, begin: at, end: until, handOnTo });
      at = until;
    }
  }
  return crossings;
}
