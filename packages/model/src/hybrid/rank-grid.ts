import { type Cluster, clusterOf } from "@hsap/cluster";
import type { TokenRange } from "@hsap/schedule";
import { InputError } from "@hsap/workload";

/**
 * How a model's ranks are arranged, innermost first: `tensor` ranks split heads and columns, `places` of them split the sequence, `data`
 * groups split the documents. Neighbours in rank order are neighbours in the hierarchy, so tensor ranks share the fastest links, and
 * groups lie behind the slowest ones.
 */
export interface RankGrid {
  readonly tensor: number;
  readonly places: number;
  readonly data: number;
}

/** Where a rank stands in a grid. A lane is the ranks of one group and column: they run one attention schedule. */
export interface GridPoint {
  readonly column: number;
  readonly place: number;
  readonly group: number;
}

export const rankAt = ({ tensor, places }: RankGrid, { column, place, group }: GridPoint): number =>
  (group * places + place) * tensor + column;

export const pointOf = ({ tensor, places }: RankGrid, rank: number): GridPoint => ({
  column: rank % tensor,
  place: Math.floor(rank / tensor) % places,
  group: Math.floor(rank / (tensor * places)),
});

export const ranksOfGrid = ({ tensor, places, data }: RankGrid): number => tensor * places * data;

/** The ranks that hold the same tokens as `rank` inside of attention, each with other heads, in order of columns. */
export function columnsBeside(grid: RankGrid, rank: number): number[] {
  const point = pointOf(grid, rank);
  return Array.from({ length: grid.tensor }, (_, column) => rankAt(grid, { ...point, column }));
}

/** The ranks of a lane, in the order in which they split its sequence. */
export const laneRanks = (grid: RankGrid, group: number, column: number): number[] =>
  Array.from({ length: grid.places }, (_, place) => rankAt(grid, { column, place, group }));

/**
 * The machines as one lane sees them: each of its ranks stands for `tensor` neighbours, so fast links join fewer of them. Their
 * bandwidths stay, as they are what one rank receives while its peers do the same.
 *
 * @throws InputError if the tensor ranks do not fill whole units of a level, or an even part of one.
 */
export function laneCluster(cluster: Cluster, { tensor, places }: RankGrid): Cluster {
  const group = clusterOf({ ranks: tensor * places, from: cluster });
  let left = tensor;
  const levels = group.levels.map((level) => {
    const within = Math.min(left, level.size);
    if (level.size % within !== 0 || left % within !== 0)
      throw new InputError(
        `invalid degree: tensor=${tensor} (must divide the ${level.size} units of ${level.name}, or be a multiple of them)`,
      );
    left /= within;
    return { ...level, size: level.size / within };
  });
  return { ...group, levels, ranks: places };
}

/** Cuts sorted ranges in pieces whose tokens differ by at most one, in order; a piece may have several ranges. */
export function dividedRanges(ranges: readonly TokenRange[], pieces: number): TokenRange[][] {
  const tokens = ranges.reduce((sum, { begin, end }) => sum + end - begin, 0);
  let [range, at] = [0, ranges[0]?.begin ?? 0];
  return Array.from({ length: pieces }, (_, piece) => {
    const owned: TokenRange[] = [];
    for (let left = Math.floor(tokens / pieces) + (piece < tokens % pieces ? 1 : 0); left > 0; ) {
      const end = Math.min(ranges[range].end, at + left);
      owned.push({ begin: at, end });
      left -= end - at;
      at = end;
      if (at === ranges[range].end) at = ranges[++range]?.begin ?? at;
    }
    return owned;
  });
}
