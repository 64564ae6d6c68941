import { type Cluster, levelBetween } from "@hsap/cluster";

/** How many ranks a mechanism spans. */
export interface Degree {
  readonly name: string;
  readonly size: number;
}

/** A mechanism on the ranks: groups of `size` ranks that exchange with each other. */
export interface Mechanism extends Degree {
  /** Ranks of each group, in order. */
  readonly groups: readonly (readonly number[])[];
  /** Index of the outermost level that a group crosses; undefined for groups of one rank. */
  readonly level: number | undefined;
}

/** The groups of each mechanism: the innermost degree takes neighbours in rank order, the next strides over them, and so on. */
export function mechanismsOf(cluster: Cluster, degrees: readonly Degree[]): Mechanism[] {
  let stride = 1;
  return degrees.map(({ name, size }) => {
    const inner = stride;
    stride *= size;
    const groups = Array.from({ length: cluster.ranks / size }, (_, group) => {
      const first = Math.floor(group / inner) * inner * size + (group % inner);
      return Array.from({ length: size }, (_, i) => first + i * inner);
    });
    const levels = groups.map((ranks) => (size === 1 ? -1 : levelBetween(cluster, ranks[0], ranks[size - 1])));
    const level = Math.max(...levels);
    return { name, size, groups, level: level < 0 ? undefined : level };
  });
}
