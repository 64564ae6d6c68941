import type { Problem } from "@hsap/schedule";
import type { Hierarchy } from "../hierarchy.ts";
import { maskOf, rowArea } from "../shard/row-area.ts";
import type { Sharding } from "../shard/shard.ts";
import { heldDocuments } from "./arrangements.ts";
import { type Grid, gridOf, groupsOf, type SharedDocument } from "./grid.ts";

/** A unit may have this share more to do than the mean, and one that has this share less may help it. */
const tolerance = 0.02;
/**
 * Grids that even out what units compute, where sharding has not: mirrored units share their queries, the longest documents first, and
 * those with less to do so far take over more. Groups of fewer than `mostMembers` that still have too much are joined by third
 * units that hold nothing of the document, the least busy of the same node before others.
 *
 * @param groupSize how many units that hold a document share its queries.
 */
export function gridsToBalance(
  problem: Problem,
  { nodeOfUnit }: Pick<Hierarchy, "nodeOfUnit">,
  sharding: Sharding,
  groupSize: number,
  mostMembers: number,
): Grid[] {
  const areas = new Areas(problem, sharding);
  const { load } = areas;
  const mean = load.reduce((sum, area) => sum + area, 0) / load.length;
  const most = (1 + tolerance) * mean;
  const grids: Grid[] = [];
  for (const held of areas.longestFirst(heldDocuments(sharding))) {
    if (held.units.every((unit) => load[unit] <= most)) continue;
    const units = [...held.units];
    const rows = [...held.rows];
    const groups = groupsOf(units.length, { groupSize: Math.min(groupSize, units.length), order: "mirrored" }).map(
      (members) => {
        const own = members.map((member) => areas.of(rows[member]));
        const joined = [...members];
        const there = members.map((member, i) => load[units[member]] - own[i]);
        const area = own.reduce((sum, of) => sum + of, 0);
        while (joined.length < mostMembers && levelOf(there, area) > most) {
          const helper = leastBusy(load, units, (1 - tolerance) * mean, nodeOfUnit, nodeOfUnit[units[members[0]]]);
          if (helper < 0) break;
          joined.push(units.length);
          units.push(helper);
          rows.push([]);
          there.push(load[helper]);
        }
        const level = levelOf(there, area);
        for (let i = 0; i < joined.length; i++) load[units[joined[i]]] = Math.max(there[i], level);
        return { joined, targets: there.map((of) => Math.max(0, level - of)) };
      },
    );
    if (groups.every(({ joined }) => joined.length === 1)) continue;
    const shared = { document: held.document, units, rows };
    const members = groups.map(({ joined }) => joined);
    grids.push(gridOf(problem, sharding, shared, members, (_, group) => groups[group].targets));
  }
  return grids;
}

/** Areas of own queries. */
class Areas {
  /** Of all queries of each unit. */
  readonly load: Float64Array;
  readonly #ofRow: Float64Array;

  constructor(problem: Problem, { pieceBegin, pieces }: Sharding) {
    const mask = maskOf(problem);
    this.#ofRow = Float64Array.from(pieces.begin, (begin, row) =>
      rowArea(mask, pieces.document[row], begin, pieces.end[row]),
    );
    this.load = new Float64Array(pieceBegin.length - 1);
    for (let unit = 0; unit < this.load.length; unit++) {
      for (let row = pieceBegin[unit]; row < pieceBegin[unit + 1]; row++) this.load[unit] += this.#ofRow[row];
    }
  }

  of(rows: readonly number[]): number {
    return rows.reduce((sum, row) => sum + this.#ofRow[row], 0);
  }

  longestFirst(documents: readonly SharedDocument[]): SharedDocument[] {
    const areas = new Map(documents.map(({ document, rows }) => [document, this.of(rows.flat())]));
    const area = ({ document }: SharedDocument) => areas.get(document) ?? 0;
    return [...documents].sort((a, b) => area(b) - area(a) || a.document - b.document);
  }
}

/** The level to which the lowest of what is there are filled up if `area` is divided among them. */
function levelOf(there: readonly number[], area: number): number {
  const ascending = [...there].sort((a, b) => a - b);
  let level = 0;
  let below = 0;
  for (let count = 1; count <= ascending.length; count++) {
    below += ascending[count - 1];
    level = (below + area) / count;
    if (count === ascending.length || level <= ascending[count]) break;
  }
  return level;
}

/** The unit with the least to do, in that node before others, that is not taken and has less than `most` to do; -1 if there is none. */
function leastBusy(
  load: Float64Array,
  taken: readonly number[],
  most: number,
  nodeOfUnit: readonly number[],
  node: number,
): number {
  let best = -1;
  for (let unit = 0; unit < load.length; unit++) {
    if (load[unit] >= most || taken.includes(unit)) continue;
    const isNear = nodeOfUnit[unit] === node;
    const isBestNear = best >= 0 && nodeOfUnit[best] === node;
    if (best < 0 || (isNear && !isBestNear) || (isNear === isBestNear && load[unit] < load[best])) best = unit;
  }
  return best;
}
