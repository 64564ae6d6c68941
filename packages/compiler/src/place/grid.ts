import { type Problem, tileArea } from "@hsap/schedule";
import { beginOfPart, type Sharding } from "../shard/shard.ts";

/** A document that several units hold, and its pieces by unit: in order of their first pieces. */
export interface SharedDocument {
  readonly document: number;
  readonly units: readonly number[];
  /** Rows of the sharding, by unit of `units`. */
  readonly rows: readonly (readonly number[])[];
}

/** How the units of a document are arranged: `groupSize` of them share queries, either neighbours or those at equal distances. */
export interface Arrangement {
  readonly groupSize: number;
  readonly neighbours: boolean;
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
  readonly arrangement: Arrangement;
  readonly cells: readonly Cell[];
  /** Tokens whose queries, and whose keys, travel to another unit, summed over the units that they go to. */
  readonly queryTokens: number;
  readonly keyTokens: number;
}

/** A member's area may be off by this share of it before keys change hands. */
const areaTolerance = 0.002;

/**
 * Divides a document's tiles among the units that hold it, in two dimensions: units form groups, each group's members share all
 * of its queries and divide the keys among themselves, so that no unit receives all keys or all queries. Groups of one are
 * ring attention's way (keys travel), one group of all is its transpose (queries travel). Each unit computes as much
 * area as it owns queries for, so balance stays what sharding has made it. Members get keys of units at their own place in
 * other groups, their own above all; the fronts of foreign pieces then even out the areas, as they have most area for a token.
 * (2-D parallel attention: LoongTrain, arXiv 2406.18485; communication-avoiding matrix products, Irony, Toledo and Tiskin 2004.)
 */
export function gridOf(problem: Problem, sharding: Sharding, shared: SharedDocument, arrangement: Arrangement): Grid {
  const { batch, mask } = problem;
  const ends = { begin: batch.cuSeqlens[shared.document], end: batch.cuSeqlens[shared.document + 1] };
  const area = (queries: readonly Range[], kBegin: number, kEnd: number) => {
    let sum = 0;
    for (const { begin, end } of queries) sum += tileArea({ qBegin: begin, qEnd: end, kBegin, kEnd, mask });
    return sum;
  };
  const pieces = shared.rows.map((rows) =>
    rows.map((row) => ({ begin: sharding.pieces.begin[row], end: sharding.pieces.end[row] })),
  );
  const groups = groupsOf(shared.units.length, arrangement);
  const cells: Cell[] = [];
  let queryTokens = 0;
  let keyTokens = 0;
  for (const members of groups) {
    const queries = members.flatMap((member) => pieces[member]);
    const lastQuery = mask === "causal" ? Math.max(...queries.map(({ end }) => end)) : ends.end;
    const share = new KeyShares(members.length, (begin, end) => area(queries, begin, end));
    for (const others of groups) {
      for (const [place, other] of others.entries()) {
        const column = Math.floor((place * members.length) / others.length);
        for (const { begin, end } of pieces[other]) {
          if (begin < lastQuery) share.add(column, begin, Math.min(end, lastQuery), other === members[column]);
        }
      }
    }
    const targets = members.map((member) => area(pieces[member], ends.begin, ends.end));
    share.evenOut(targets);
    for (const [place, member] of members.entries()) {
      const keys = share.keysOf(place);
      const firstKey = keys.length === 0 ? Number.POSITIVE_INFINITY : keys[0].begin;
      const foreign = members
        .filter((other) => other !== member)
        .flatMap((other) => pieces[other].map((piece) => ({ ...piece, owner: shared.units[other] })))
        .map((piece) => (mask === "causal" ? { ...piece, begin: Math.max(piece.begin, firstKey) } : piece))
        .filter(({ begin, end }) => begin < end && keys.length > 0)
        .sort((a, b) => a.begin - b.begin);
      cells.push({ unit: shared.units[member], keys, queries: foreign });
      queryTokens += tokensIn(foreign);
      keyTokens += tokensIn(without(keys, pieces[member]));
    }
  }
  return { document: shared.document, arrangement, cells, queryTokens, keyTokens };
}

/** Members of each group: units are numbered in the order of the document's `units`. */
function groupsOf(units: number, { groupSize, neighbours }: Arrangement): number[][] {
  const count = Math.ceil(units / groupSize);
  return Array.from({ length: count }, (_, group) => {
    const all = Array.from({ length: units }, (_, unit) => unit);
    if (!neighbours) return all.filter((unit) => unit % count === group);
    return all.slice(beginOfPart(units, count, group), beginOfPart(units, count, group + 1));
  });
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
    const surplus = this.#shares.map(
      (keys, member) => keys.reduce((sum, { begin, end }) => sum + this.area(begin, end), 0) - targets[member],
    );
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
    const keys = this.#shares[member].filter(({ begin, end }) => begin < end && this.area(begin, end) > 0);
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
