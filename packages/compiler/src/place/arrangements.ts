import type { Problem } from "@hsap/schedule";
import { cargoTokenBytes } from "../cost/transfer-time.ts";
import type { Hierarchy } from "../hierarchy.ts";
import { cargoes } from "../route/message.ts";
import type { Sharding } from "../shard/shard.ts";
import { type Arrangement, type Grid, gridOf, type SharedDocument } from "./grid.ts";

/**
 * Who computes tiles: `queries` the owners of their queries, `keys` the owners of their keys, `grid` third units too, in two
 * dimensions; `auto` whatever is predicted to take least.
 */
export const places = ["queries", "keys", "grid", "auto"] as const;
export type Place = (typeof places)[number];

/** Bytes that a lane carries for one token, there and back, if its key, or its query, is needed by another unit. */
export interface TokenBytes {
  readonly key: number;
  readonly query: number;
}

export function tokenBytesOf(problem: Problem, hierarchy: Pick<Hierarchy, "ulysses">): TokenBytes {
  const bytes = cargoTokenBytes(problem, hierarchy);
  return {
    key: bytes[cargoes.keys] + (problem.pass === "backward" ? bytes[cargoes.returned] : 0),
    query: bytes[cargoes.queries] + bytes[cargoes.partials],
  };
}

/** What travels for a document, in bytes of a lane, summed over the units that it goes to. */
export const carriedBytes = ({ queryTokens, keyTokens }: Grid, { key, query }: TokenBytes): number =>
  queryTokens * query + keyTokens * key;

/**
 * Grids of the documents that several units hold. With `auto` only of those, and in such an arrangement, that carry fewer bytes than
 * if all tiles stayed with the owners of their queries.
 */
export function gridsFor(problem: Problem, hierarchy: Hierarchy, sharding: Sharding, place: Place): Grid[] {
  if (place === "queries") return [];
  const bytes = tokenBytesOf(problem, hierarchy);
  return sharedDocuments(sharding).flatMap((shared) => {
    const units = shared.units.length;
    const grids = arrangementsOf(units, place, bytes).map((arrangement) =>
      gridIn(problem, sharding, shared, arrangement),
    );
    const best = grids.reduce((a, b) => (carriedBytes(b, bytes) < carriedBytes(a, bytes) ? b : a));
    return best.arrangement.groupSize === 1 ? [] : [best];
  });
}

/** One document's grid. */
export function gridIn(problem: Problem, sharding: Sharding, shared: SharedDocument, arrangement: Arrangement): Grid {
  const { cuSeqlens } = problem.batch;
  const ends = { begin: cuSeqlens[shared.document], end: cuSeqlens[shared.document + 1] };
  return gridOf(problem, sharding, shared, arrangement, ends);
}

/**
 * Arrangements worth counting. With groups of g among n units, a unit receives about g - 1 shares of queries and n / g - 1 of keys,
 * so the fewest bytes are near g = sqrt(n * key / query).
 */
function arrangementsOf(units: number, place: Place, { key, query }: TokenBytes): Arrangement[] {
  if (place === "keys") return [{ groupSize: units, neighbours: true }];
  const best = Math.sqrt((units * key) / query);
  const near = [Math.floor(best), Math.ceil(best), powerOfTwoBelow(best), 2 * powerOfTwoBelow(best)];
  const least = place === "auto" ? 1 : 2;
  const sizes = [
    ...new Set([...near.map((size) => Math.min(units, Math.max(least, size))), ...(place === "auto" ? [1] : [])]),
  ];
  return sizes.flatMap((groupSize) =>
    groupSize === 1 || groupSize === units
      ? [{ groupSize, neighbours: true }]
      : [true, false].map((neighbours) => ({ groupSize, neighbours })),
  );
}

const powerOfTwoBelow = (value: number): number => 2 ** Math.max(0, Math.floor(Math.log2(value)));

/** Documents that several units hold, in order of position. */
export function sharedDocuments({ pieceBegin, pieces }: Sharding): SharedDocument[] {
  const holders = new Map<number, Map<number, number[]>>();
  for (let unit = 0; unit + 1 < pieceBegin.length; unit++) {
    for (let row = pieceBegin[unit]; row < pieceBegin[unit + 1]; row++) {
      const document = pieces.document[row];
      const units = holders.get(document) ?? new Map<number, number[]>();
      holders.set(document, units);
      const rows = units.get(unit);
      if (rows === undefined) units.set(unit, [row]);
      else rows.push(row);
    }
  }
  return [...holders]
    .filter(([, units]) => units.size > 1)
    .sort(([a], [b]) => a - b)
    .map(([document, units]) => {
      const inOrder = [...units].sort(([, a], [, b]) => pieces.begin[a[0]] - pieces.begin[b[0]]);
      return { document, units: inOrder.map(([unit]) => unit), rows: inOrder.map(([, rows]) => rows) };
    });
}
