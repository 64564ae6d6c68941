import { type Cluster, spansOf } from "@hsap/cluster";

/** Where the ranks of a cluster stand on a line, and the units that its levels make of them. */
export interface Hierarchy {
  readonly ranks: readonly PlacedRank[];
  /** Units of all levels, innermost level first. */
  readonly units: readonly PlacedUnit[];
  /** Places between ranks where others are left out. */
  readonly gaps: readonly { readonly x: number; readonly left: number }[];
  /** Width of a rank's cell, in points. */
  readonly cell: number;
}

export interface PlacedRank {
  readonly rank: number;
  /** Middle of its cell, in points. */
  readonly x: number;
}

export interface PlacedUnit {
  readonly level: number;
  readonly index: number;
  readonly x1: number;
  readonly x2: number;
  /** Middles of the units of the level below (ranks, for level 0). */
  readonly members: readonly number[];
}

const largestCell = 48;
const smallestCell = 5.3;
/** Room for the words that say how many ranks are left out. */
const gapWidth = 34;

/**
 * Sets the ranks side by side in `width` points, with more room between units of outer levels. Where there are too many,
 * units of the outermost level are left out before the last one.
 */
export function placeRanks(cluster: Cluster, width: number): Hierarchy {
  const spans = spansOf(cluster.levels);
  const shown = shownRanks(cluster, spans, width);
  const cell = Math.min(largestCell, cellWidth(shown, spans, width));
  let end = 0;
  const ranks = shown.map((rank, i) => {
    if (i > 0) end += spaceBefore(rank, spans) * cell + (follows(shown, i) ? 0 : gapWidth);
    end += cell;
    return { rank, x: end - cell / 2 };
  });
  return { ranks, units: unitsOf(cluster, spans, ranks, cell), gaps: gapsOf(ranks, cell), cell };
}

/** All ranks if they fit, else whole units: the first ones and the last, of the widest level that leaves at least three. */
function shownRanks({ ranks }: Cluster, spans: readonly number[], width: number): number[] {
  const all = Array.from({ length: ranks }, (_, rank) => rank);
  if (cellWidth(all, spans, width) >= smallestCell) return all;
  for (const unit of [...spans].reverse()) {
    const last = Math.floor((ranks - 1) / unit) * unit;
    for (let first = last - unit; first >= 2 * unit; first -= unit) {
      const shown = all.filter((rank) => rank < first || rank >= last);
      if (cellWidth(shown, spans, width) >= smallestCell) return shown;
    }
  }
  return [...all.slice(0, 16), ...all.slice(-4)];
}

function cellWidth(shown: readonly number[], spans: readonly number[], width: number): number {
  const gaps = shown.filter((_, i) => i > 0 && !follows(shown, i)).length;
  const cells = shown.reduce((sum, rank, i) => sum + 1 + (i > 0 ? spaceBefore(rank, spans) : 0), 0);
  return (width - gaps * gapWidth) / cells;
}

const follows = (shown: readonly number[], i: number): boolean => shown[i] === shown[i - 1] + 1;

/** In cells: half a one for each level at whose border the rank stands. */
const spaceBefore = (rank: number, spans: readonly number[]): number =>
  0.5 * spans.filter((span) => rank % span === 0).length;

function unitsOf(
  { levels }: Cluster,
  spans: readonly number[],
  ranks: readonly PlacedRank[],
  cell: number,
): PlacedUnit[] {
  const units: PlacedUnit[] = [];
  levels.forEach((_, level) => {
    const inner = level === 0 ? 1 : spans[level - 1];
    for (const index of new Set(ranks.map(({ rank }) => Math.floor(rank / spans[level])))) {
      const inside = ranks.filter(({ rank }) => Math.floor(rank / spans[level]) === index);
      const xs = inside.map(({ x }) => x);
      const members = [...new Set(inside.map(({ rank }) => Math.floor(rank / inner)))].map((member) => {
        const of = inside.filter(({ rank }) => Math.floor(rank / inner) === member).map(({ x }) => x);
        return (Math.min(...of) + Math.max(...of)) / 2;
      });
      units.push({ level, index, x1: Math.min(...xs) - cell / 2, x2: Math.max(...xs) + cell / 2, members });
    }
  });
  return units;
}

function gapsOf(ranks: readonly PlacedRank[], cell: number): Hierarchy["gaps"] {
  return ranks.flatMap(({ rank, x }, i) => {
    const left = i === 0 ? 0 : rank - ranks[i - 1].rank - 1;
    return left === 0 || x - ranks[i - 1].x < cell ? [] : [{ x: (x + ranks[i - 1].x) / 2, left }];
  });
}
