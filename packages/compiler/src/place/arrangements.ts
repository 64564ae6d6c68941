import type { Problem } from "@hsap/schedule";
import { cargoTokenBytes } from "../cost/transfer-time.ts";
import type { Hierarchy } from "../hierarchy.ts";
import { cargoes } from "../route/message.ts";
import type { Sharding } from "../shard/shard.ts";
import { type Grid, gridOf, groupsOf, type SharedDocument } from "./grid.ts";
import type { Placement } from "./place.ts";

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

/** The grids with which all documents that several units hold carry the fewest bytes, each in groups of at least two. */
export function gridsOfPlace(
  problem: Problem,
  hierarchy: Hierarchy,
  sharding: Sharding,
  place: "keys" | "grid",
): Grid[] {
  const bytes = tokenBytesOf(problem, hierarchy);
  return sharedDocuments(sharding).map((shared) => {
    const units = shared.units.length;
    const sizes = place === "keys" ? [units] : groupSizes(units, bytes);
    return leastOf(
      sizes.map((size) => gridIn(problem, sharding, shared, size, bytes)),
      bytes,
    );
  });
}

/**
 * Grids in groups of about one size, for the sizes that carry the fewest bytes: of the documents that carry fewer then than if all
 * tiles stayed with the owners of their queries, as in `placement`.
 */
export function gridsToWeigh(problem: Problem, { hierarchy, sharding, placement }: Placed): Grid[][] {
  const bytes = tokenBytesOf(problem, hierarchy);
  const onlyKeys = new Map<number, number>();
  const { document, begin, end } = placement.needs;
  for (let row = 0; row < document.length; row++) {
    onlyKeys.set(document[row], (onlyKeys.get(document[row]) ?? 0) + bytes.key * (end[row] - begin[row]));
  }
  const documents = sharedDocuments(sharding);
  const saved = (grid: Grid) => (onlyKeys.get(grid.document) ?? 0) - carriedBytes(grid, bytes);
  return groupSizes(hierarchy.units, bytes)
    .map((size) => {
      const grids = documents
        .filter(({ units }) => units.length >= size)
        .map((shared) => gridIn(problem, sharding, shared, size, bytes))
        .filter((grid) => saved(grid) > 0);
      return { grids, savedBytes: grids.reduce((sum, grid) => sum + saved(grid), 0) };
    })
    .filter(({ grids }) => grids.length > 0)
    .sort((a, b) => b.savedBytes - a.savedBytes)
    .slice(0, sizesToWeigh)
    .map(({ grids }) => grids);
}

/** Of sizes that carry about as few bytes, one may suit the links better. */
const sizesToWeigh = 3;

/** What is decided of a part of a plan before its tiles are in two dimensions. */
interface Placed {
  readonly hierarchy: Hierarchy;
  readonly sharding: Sharding;
  readonly placement: Pick<Placement, "needs">;
}

/**
 * Sizes of groups worth counting. With groups of g among n units, a unit receives about g - 1 shares of queries and n / g - 1 of keys,
 * so the fewest bytes are near g = sqrt(n * key / query); powers of two divide units evenly.
 */
function groupSizes(units: number, { key, query }: TokenBytes): number[] {
  const best = Math.sqrt((units * key) / query);
  const power = 2 ** Math.max(0, Math.floor(Math.log2(best)));
  const near = [Math.floor(best), Math.ceil(best), power, 2 * power];
  return [...new Set(near.map((size) => Math.min(units, Math.max(2, size))))];
}

/** A document's grid in groups of neighbours, or of units at equal distances, whichever carries fewer bytes. */
function gridIn(
  problem: Problem,
  sharding: Sharding,
  shared: SharedDocument,
  groupSize: number,
  bytes: TokenBytes,
): Grid {
  const isOneWay = groupSize === 1 || groupSize >= shared.units.length;
  const orders = isOneWay ? (["neighbours"] as const) : (["neighbours", "distant"] as const);
  return leastOf(
    orders.map((order) => gridOf(problem, sharding, shared, groupsOf(shared.units.length, { groupSize, order }))),
    bytes,
  );
}

const leastOf = (grids: readonly Grid[], bytes: TokenBytes): Grid =>
  grids.reduce((a, b) => (carriedBytes(b, bytes) < carriedBytes(a, bytes) ? b : a));

/** Documents that several units hold, in order of position. */
const sharedDocuments = (sharding: Sharding): SharedDocument[] =>
  heldDocuments(sharding).filter(({ units }) => units.length > 1);

/** All documents, in order of position. */
export function heldDocuments({ pieceBegin, pieces }: Sharding): SharedDocument[] {
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
    .sort(([a], [b]) => a - b)
    .map(([document, units]) => {
      const inOrder = [...units].sort(([, a], [, b]) => pieces.begin[a[0]] - pieces.begin[b[0]]);
      return { document, units: inOrder.map(([unit]) => unit), rows: inOrder.map(([, rows]) => rows) };
    });
}
