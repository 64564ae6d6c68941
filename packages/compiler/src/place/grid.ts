import { type Problem, tileArea } from "@hsap/schedule";
import { beginOfPart, type Sharding } from "../shard/shard.ts";

/** A document that several units compute, and its pieces by unit: in order of their first pieces; those that hold none come last. */
export interface SharedDocument {
  readonly document: number;
  readonly units: readonly number[];
  /** Rows of the sharding, by unit of `units`. */
  readonly rows: readonly (readonly number[])[];
}

/** Which units of a document share queries, as places in its `units`. */
export type Groups = readonly (readonly number[])[];

/** How the units of a document are arranged: `groupSize` of them share queries. */
export interface Arrangement {
  readonly groupSize: number;
  /**
   * Which of them: neighbours, those at equal distances, or mirrored ones (the first and the last, the second and the last but one),
   * which together see as many keys as others do.
   */
  readonly order: "neighbours" | "distant" | "mirrored";
}

/** Consecutive tokens of one document. */
export interface Range {
  readonly begin: number;
  readonly end: number;
}

/** What one unit computes of a document: all queries of its group against its share of the keys. */
export interface Cell {
  readonly unit: number;
  /** Sorted, disjoint; trimmed to what the mask leaves of the group's queries. */
  readonly keys: readonly Range[];
  /** Queries of the other units of the group, trimmed to those that see any of the keys. */
  readonly queries: readonly ForeignQueries[];
}

export interface ForeignQueries extends Range {
  readonly owner: number;
}

/** A document's tiles in two dimensions: rows of queries, columns of keys. */
export interface Grid {
  readonly document: number;
  readonly groups: Groups;
  readonly cells: readonly Cell[];
  /** Tokens whose queries, and whose keys, travel to another unit, summed over the units that they go to. */
  readonly queryTokens: number;
  readonly keyTokens: number;
}

/** A member's area may be off by this share of it before keys change hands. */
const areaTolerance = 0.002;

/**
 * Divides a document's tiles among units in two dimensions: units form groups, each group's members share all of its queries and
 * divide the keys among themselves, so that no unit receives all keys or all queries. Groups of one are ring attention's way
 * (keys travel), one group of all is its transpose (queries travel). Each unit computes as much area as it owns queries for, so
 * balance stays what sharding has made it, unless `targetsOf` says otherwise. Members get keys of units at their own place in other
 * groups, their own above all; the fronts of foreign pieces then even out the areas, as they have most area for a token.
 * (2-D parallel attention: LoongTrain, arXiv 2406.18485; communication-avoiding matrix products, Irony, Toledo and Tiskin 2004.)
 */
export function gridOf(
  problem: Problem,
  sharding: Sharding,
  shared: SharedDocument,
  groups: Groups,
  targetsOf: Targets = (areas) => areas,
): Grid {
  const { batch, mask } = problem;
  const whole = { begin: batch.cuSeqlens[shared.document], end: batch.cuSeqlens[shared.document + 1] };
  const pieces = shared.rows.map((rows) =>
    rows.map((row) => ({ begin: sharding.pieces.begin[row], end: sharding.pieces.end[row] })),
  );
  const cells: Cell[] = [];
  let queryTokens = 0;
  let keyTokens = 0;
  for (const [group, members] of groups.entries()) {
    const areas = members.map((of) => areaOf(mask, pieces[of], whole.begin, whole.end));
    const keys = keysOfMembers(mask, pieces, groups, members, whole.end, targetsOf(areas, group));
    for (let place = 0; place < members.length; place++) {
      const queries = foreignQueries(mask, shared, pieces, members, members[place], keys[place]);
      cells.push({ unit: shared.units[members[place]], keys: keys[place], queries });
      queryTokens += tokensIn(queries);
      keyTokens += tokensIn(without(keys[place], pieces[members[place]]));
    }
  }
  return { document: shared.document, groups, cells, queryTokens, keyTokens };
}

/** The areas that units of a group shall compute, from those that they own queries for; the sum is the same. */
export type Targets = (areas: readonly number[], group: number) => readonly number[];

type Mask = Problem["mask"];
/** The pieces of each unit of a document. */
type UnitRanges = readonly (readonly Range[])[];

/** Divides the keys that a group's queries see among its members. */
function keysOfMembers(
  mask: Mask,
  pieces: UnitRanges,
  groups: Groups,
  members: readonly number[],
  documentEnd: number,
  targets: readonly number[],
): Range[][] {
  const queries = members.flatMap((member) => pieces[member]);
  let lastQuery = mask === "causal" ? 0 : documentEnd;
  for (const { end } of queries) lastQuery = Math.max(lastQuery, end);
  const shares = new KeyShares(members.length, (begin, end) => areaOf(mask, queries, begin, end));
  for (const others of groups) {
    for (let place = 0; place < others.length; place++) {
      const column = Math.floor((place * members.length) / others.length);
      const isOwn = others[place] === members[column];
      for (const { begin, end } of pieces[others[place]]) {
        if (begin < lastQuery) shares.add(column, begin, Math.min(end, lastQuery), isOwn);
      }
    }
  }
  if (members.length > 1) shares.evenOut(targets);
  return members.map((_, place) => shares.keysOf(place));
}

/** The queries of a group's other members that see any of the keys. */
function foreignQueries(
  mask: Mask,
  { units }: SharedDocument,
  pieces: UnitRanges,
  members: readonly number[],
  member: number,
  keys: readonly Range[],
): ForeignQueries[] {
  if (keys.length === 0) return [];
  const firstKey = mask === "causal" ? keys[0].begin : 0;
  const foreign: ForeignQueries[] = [];
  for (const other of members) {
    if (other === member) continue;
    for (const { begin, end } of pieces[other]) {
      if (end > firstKey) foreign.push({ begin: Math.max(begin, firstKey), end, owner: units[other] });
    }
  }
  return foreign.sort((a, b) => a.begin - b.begin);
}

/** Unmasked pairs of queries and the keys [begin, end). */
function areaOf(mask: Mask, queries: readonly Range[], begin: number, end: number): number {
  let area = 0;
  for (const query of queries) {
    // Nothing is seen of keys after the last query.
    if (mask === "causal" && query.end <= begin) continue;
    area += tileArea({ qBegin: query.begin, qEnd: query.end, kBegin: begin, kEnd: end, mask });
  }
  return area;
}

/** Groups of so many units. */
export function groupsOf(units: number, { groupSize, order }: Arrangement): number[][] {
  const count = Math.ceil(units / groupSize);
  if (order === "mirrored") {
    const inOrder = Array.from({ length: units }, (_, i) => (i % 2 === 0 ? i / 2 : units - (i + 1) / 2));
    return Array.from({ length: count }, (_, group) =>
      inOrder.slice(beginOfPart(units, count, group), beginOfPart(units, count, group + 1)).sort((a, b) => a - b),
    );
  }
  const neighbours = order === "neighbours";
  const groups: number[][] = Array.from({ length: count }, () => []);
  for (let group = 0; group < count; group++) {
    const begin = neighbours ? beginOfPart(units, count, group) : group;
    const end = neighbours ? beginOfPart(units, count, group + 1) : units;
    for (let unit = begin; unit < end; unit += neighbours ? 1 : count) groups[group].push(unit);
  }
  return groups;
}

interface KeyRange {
  begin: number;
  end: number;
  readonly isOwn: boolean;
}

/** The keys that each member of a group computes with. */
class KeyShares {
  readonly #shares: KeyRange[][];

  constructor(
    members: number,
    /** Area of the group's queries on keys. */
    readonly area: (begin: number, end: number) => number,
  ) {
    this.#shares = Array.from({ length: members }, () => []);
  }

  add(member: number, begin: number, end: number, isOwn: boolean): void {
    this.#shares[member].push({ begin, end, isOwn });
  }

  /** Moves keys from members with more area than their target to those with less. */
  evenOut(targets: readonly number[]): void {
    const surplus = targets.map((target) => -target);
    for (let member = 0; member < targets.length; member++) {
      for (const { begin, end } of this.#shares[member]) surplus[member] += this.area(begin, end);
    }
    const least = targets.map((target) => areaTolerance * target + 1);
    for (let from = 0; from < targets.length; from++) {
      for (let to = 0; to < targets.length && surplus[from] > least[from]; to++) {
        if (surplus[to] >= -least[to]) continue;
        const moved = this.#move(from, to, Math.min(surplus[from], -surplus[to]));
        surplus[from] -= moved;
        surplus[to] += moved;
      }
    }
  }

  /** Moves keys of about that area, foreign ones first, those at the front before others; returns the area moved. */
  #move(from: number, to: number, area: number): number {
    let left = area;
    this.#shares[from].sort((a, b) => Number(a.isOwn) - Number(b.isOwn) || a.begin - b.begin);
    for (const keys of this.#shares[from]) {
      const all = this.area(keys.begin, keys.end);
      if (all === 0) continue;
      const cut = all <= left ? keys.end : this.#cutAt(keys, left);
      if (cut === keys.begin) break;
      this.#shares[to].push({ begin: keys.begin, end: cut, isOwn: false });
      left -= this.area(keys.begin, cut);
      keys.begin = cut;
      if (cut < keys.end) break;
    }
    return area - left;
  }

  /** The last position up to which keys have at most that area. */
  #cutAt({ begin, end }: Range, area: number): number {
    let [low, high] = [begin, end];
    while (low < high) {
      const middle = Math.ceil((low + high) / 2);
      if (this.area(begin, middle) <= area) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  /** In order of position, joined where they are neighbours. */
  keysOf(member: number): Range[] {
    const keys = this.#shares[member].filter(({ begin, end }) => begin < end);
    const joined: { begin: number; end: number }[] = [];
    for (const { begin, end } of keys.sort((a, b) => a.begin - b.begin)) {
      const last = joined.at(-1);
      if (last?.end === begin) last.end = end;
      else joined.push({ begin, end });
    }
    return joined;
  }
}

/** What is left of sorted ranges if others, sorted too, are taken out. */
export function without(ranges: readonly Range[], others: readonly Range[]): Range[] {
  const left: Range[] = [];
  for (const { begin, end } of ranges) {
    let at = begin;
    for (const other of others) {
      if (other.end <= at || other.begin >= end) continue;
      if (other.begin > at) left.push({ begin: at, end: other.begin });
      at = Math.max(at, other.end);
    }
    if (at < end) left.push({ begin: at, end });
  }
  return left;
}

/** What ranges, sorted, have in common with others. */
export function common(ranges: readonly Range[], others: readonly Range[]): Range[] {
  return ranges.flatMap(({ begin, end }) =>
    others
      .map((other) => ({ begin: Math.max(begin, other.begin), end: Math.min(end, other.end) }))
      .filter((range) => range.begin < range.end),
  );
}

const tokensIn = (ranges: readonly Range[]): number => ranges.reduce((sum, { begin, end }) => sum + end - begin, 0);
