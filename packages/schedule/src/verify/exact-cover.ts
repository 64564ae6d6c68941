/** A tile as it looks from the rows of one result: the interval of columns that it covers, under a causal mask or not. */
export interface CoveredColumns {
  readonly begin: number;
  readonly end: number;
  /** Row x sees only columns up to x. */
  readonly causal: boolean;
  readonly tile: number;
}

/** Rows and columns that no tile covers (`tiles` empty), or that two do. */
export interface CoverFault {
  readonly rowBegin: number;
  readonly rowEnd: number;
  readonly columnBegin: number;
  readonly columnEnd: number;
  readonly tiles: readonly number[];
}

/**
 * Whether tiles cover each row of `rowBegin` to `rowEnd` exactly once: columns `begin` to `end` of the document, or, under a
 * causal mask, `begin` to the row itself. Returns the first fault, in rows, then columns.
 *
 * Rows are cut where a causal tile's columns begin and end. Between two cuts each tile is either empty (all its columns come
 * after the row), whole, or diagonal (it ends at the row), so the rows between two cuts are all right or all wrong, and sorted
 * by their first column the tiles must follow one another without a gap or an overlap.
 */
export function findCoverFault(
  rows: { readonly begin: number; readonly end: number },
  columns: { readonly begin: number; readonly end: number; readonly causal: boolean },
  tiles: readonly CoveredColumns[],
): CoverFault | undefined {
  const sorted = [...tiles].sort((a, b) => a.begin - b.begin);
  const cuts = [rows.begin, rows.end];
  for (const { begin, end, causal } of tiles) {
    if (!causal) continue;
    if (begin > rows.begin && begin < rows.end) cuts.push(begin);
    if (end > rows.begin && end < rows.end) cuts.push(end);
  }
  if (cuts.length > 2) cuts.sort((a, b) => a - b);
  for (let i = 1; i < cuts.length; i++) {
    if (cuts[i - 1] === cuts[i]) continue;
    const fault = faultBetweenCuts(cuts[i - 1], cuts[i], columns, sorted);
    if (fault !== undefined) return fault;
  }
  return undefined;
}

function faultBetweenCuts(
  rowBegin: number,
  rowEnd: number,
  columns: { readonly begin: number; readonly end: number; readonly causal: boolean },
  sorted: readonly CoveredColumns[],
): CoverFault | undefined {
  let covered = columns.begin;
  let last: CoveredColumns | undefined;
  let lastIsDiagonal = false;
  // Behind a diagonal tile every row lacks other columns, so only the first is named.
  const gap = (columnBegin: number, columnEnd: number): CoverFault => ({
    ...{ rowBegin, rowEnd: lastIsDiagonal ? rowBegin + 1 : rowEnd },
    ...{ columnBegin, columnEnd, tiles: [] },
  });
  for (const tile of sorted) {
    if (tile.begin >= tile.end || (tile.causal && rowBegin < tile.begin)) continue;
    // Behind a diagonal tile the last row is covered up to `covered`, the first only up to itself.
    const leastCovered = lastIsDiagonal ? rowBegin + 1 : covered;
    if (tile.begin < covered) {
      const columnEnd = Math.min(tile.end, covered);
      return { rowBegin, rowEnd, columnBegin: tile.begin, columnEnd, tiles: [last?.tile ?? tile.tile, tile.tile] };
    }
    if (tile.begin > leastCovered) return gap(leastCovered, tile.begin);
    const endsAtRow = tile.causal && rowBegin < tile.end;
    covered = endsAtRow ? rowEnd : tile.end;
    lastIsDiagonal = endsAtRow && rowEnd > rowBegin + 1;
    last = tile;
  }
  if (lastIsDiagonal && columns.causal) return undefined;
  const end = columns.causal ? rowEnd : columns.end;
  const reached = lastIsDiagonal ? rowBegin + 1 : covered;
  return reached < end ? gap(reached, end) : undefined;
}
