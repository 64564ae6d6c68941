import { doubled, type Piece, PieceList, type Pieces, pieceAt } from "../piece.ts";
import { rowNumbers, sortByKey } from "../radix-sort.ts";
import type { Sharding } from "../shard/shard.ts";
import { type Cell, common, type Grid, type Range, without } from "./grid.ts";
import type { Tiling } from "./tile.ts";

/** Keys and values that units need and do not own, as columns: in order of document, then unit, then position. */
export interface Needs extends Pieces {
  readonly unit: Int32Array;
}

/** Pieces by unit: those of unit u are rows pieceBegin[u] up to, not including, pieceBegin[u + 1], in order of position. */
export type UnitPieces = Sharding;

/** Queries that units compute for others, as columns: their rows of `Placement.queries`, and the units that own and compute them. */
export interface Borrowed {
  readonly row: Int32Array;
  readonly owner: Int32Array;
  readonly unit: Int32Array;
}

export interface Placement {
  /** The queries that each unit computes for: its own, and what it borrows. */
  readonly queries: UnitPieces;
  /** The own keys that a unit computes with; all of a document that has no grid. */
  readonly ownKeys: UnitPieces;
  /** 1 for rows of `queries` that other units own; left out where none are. */
  readonly isBorrowed?: Uint8Array | undefined;
  readonly borrowed: Borrowed;
  /**
   * Whether keys cross to other nodes a round after all else has travelled: queries, and keys inside nodes, are there soon and are
   * computed with while those are on their way.
   */
  readonly crossesLater: boolean;
  /** Documents whose tiles lie in two dimensions; all others are computed by the owners of their queries. */
  readonly grids: readonly Grid[];
  /** What keys must travel for; documents that stay with one unit need nothing. */
  readonly needs: Needs;
}

/** Needs as people and tests read them. */
export const needsOf = ({ needs }: Placement): (Piece & { readonly unit: number })[] =>
  Array.from(needs.unit, (unit, row) => ({ unit, ...pieceAt(needs, row) }));

/**
 * Pass 3, who computes a tile. By default the owner of its queries does, so that keys and values travel, and (o, lse) or dq never
 * do: with few kv heads that is also the cheapest, as a token's keys and values are smaller than its query and output.
 * Documents with a grid are divided in two dimensions instead (see `gridOf`). A unit needs exactly the keys that its tiles
 * read, less its own.
 */
export function place(sharding: Sharding, tiles: Tiling, grids: readonly Grid[] = [], crossesLater = false): Placement {
  const cells = cellsByUnit(sharding, grids);
  const gaps = new PieceList();
  let unitOfGap = new Int32Array(256);
  for (let unit = 0; unit + 1 < sharding.pieceBegin.length; unit++) {
    const first = gaps.length;
    collectMissing(sharding, tiles, unit, cells?.[unit], gaps);
    while (unitOfGap.length < gaps.length) unitOfGap = doubled(unitOfGap);
    unitOfGap.fill(unit, first, gaps.length);
  }
  const order = rowNumbers(gaps.length);
  sortByKey(order, Uint32Array.from(gaps.document));
  const needs = {
    unit: order.map((row) => unitOfGap[row]),
    document: order.map((row) => gaps.document[row]),
    begin: order.map((row) => gaps.begin[row]),
    end: order.map((row) => gaps.end[row]),
  };
  if (cells === undefined) {
    return { queries: sharding, ownKeys: sharding, borrowed: nothing, crossesLater, grids, needs };
  }
  return { ...queriesOf(sharding, cells), ownKeys: ownKeysOf(sharding, cells), crossesLater, grids, needs };
}

const nothing: Borrowed = { row: new Int32Array(0), owner: new Int32Array(0), unit: new Int32Array(0) };

/** The cells of each unit by document; nothing if there are no grids. */
type UnitCells = ReadonlyMap<number, Cell>;

function cellsByUnit({ pieceBegin }: Sharding, grids: readonly Grid[]): UnitCells[] | undefined {
  if (grids.length === 0) return undefined;
  const byUnit = Array.from({ length: pieceBegin.length - 1 }, () => new Map<number, Cell>());
  for (const { document, cells } of grids) for (const cell of cells) byUnit[cell.unit].set(document, cell);
  return byUnit;
}

/** Adds the keys that the tiles of a unit read and the unit does not hold, in order of position. */
function collectMissing(
  { pieceBegin, pieces }: Sharding,
  { kBegin, kEnd }: Tiling,
  unit: number,
  cells: UnitCells | undefined,
  gaps: PieceList,
) {
  const past = pieceBegin[unit + 1];
  // A third unit may compute tiles of documents of which it holds nothing.
  const foreign = new Map(cells);
  for (let first = pieceBegin[unit]; first < past; ) {
    const document = pieces.document[first];
    let begin = kBegin[first];
    let end = kEnd[first];
    let next = first;
    for (; next < past && pieces.document[next] === document; next++) {
      begin = Math.min(begin, kBegin[next]);
      end = Math.max(end, kEnd[next]);
    }
    const cell = cells?.get(document);
    if (cell !== undefined) {
      foreign.delete(document);
      for (const gap of without(cell.keys, rangesOf(pieces, first, next))) gaps.push(document, gap.begin, gap.end);
      first = next;
      continue;
    }
    for (let own = first; own < next; own++) {
      if (pieces.begin[own] > begin) gaps.push(document, begin, Math.min(pieces.begin[own], end));
      begin = Math.max(begin, pieces.end[own]);
    }
    if (begin < end) gaps.push(document, begin, end);
    first = next;
  }
  for (const [document, { keys }] of foreign) for (const { begin, end } of keys) gaps.push(document, begin, end);
}

const rangesOf = ({ begin, end }: Pieces, first: number, past: number): Range[] =>
  Array.from({ length: past - first }, (_, i) => ({ begin: begin[first + i], end: end[first + i] }));

/** Own pieces, and those borrowed among them in order of position. */
function queriesOf({ pieceBegin, pieces }: Sharding, cells: readonly UnitCells[]) {
  const queries = new PieceList();
  const begins = new Int32Array(pieceBegin.length);
  const borrowed: { row: number; owner: number; unit: number }[] = [];
  for (const [unit, of] of cells.entries()) {
    const own = Array.from({ length: pieceBegin[unit + 1] - pieceBegin[unit] }, (_, i) => ({
      ...pieceAt(pieces, pieceBegin[unit] + i),
      owner: unit,
    }));
    const foreign = [...of].flatMap(([document, cell]) => cell.queries.map((piece) => ({ document, ...piece })));
    for (const { document, begin, end, owner } of [...own, ...foreign].sort((a, b) => a.begin - b.begin)) {
      if (owner !== unit) borrowed.push({ row: queries.length, owner, unit });
      queries.push(document, begin, end);
    }
    begins[unit + 1] = queries.length;
  }
  const isBorrowed = new Uint8Array(queries.length);
  for (const { row } of borrowed) isBorrowed[row] = 1;
  const column = (name: "row" | "owner" | "unit") => Int32Array.from(borrowed, ({ [name]: value }) => value);
  return {
    queries: { pieceBegin: begins, pieces: queries.finish() },
    isBorrowed,
    borrowed: { row: column("row"), owner: column("owner"), unit: column("unit") },
  };
}

/** The own pieces of units, of documents with a grid only what their cells read. */
function ownKeysOf({ pieceBegin, pieces }: Sharding, cells: readonly UnitCells[]): UnitPieces {
  const keys = new PieceList();
  const begins = new Int32Array(pieceBegin.length);
  for (const [unit, of] of cells.entries()) {
    for (let row = pieceBegin[unit]; row < pieceBegin[unit + 1]; row++) {
      const { document, begin, end } = pieceAt(pieces, row);
      const cell = of.get(document);
      const used = cell === undefined ? [{ begin, end }] : common([{ begin, end }], cell.keys);
      for (const range of used) keys.push(document, range.begin, range.end);
    }
    begins[unit + 1] = keys.length;
  }
  return { pieceBegin: begins, pieces: keys.finish() };
}
