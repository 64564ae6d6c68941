import type { DeviceProfile } from "./device-profile.ts";

/**
 * The machines a schedule runs on: ranks joined by links, fast inside, slower outwards. Rank r sits in unit
 * floor(r / span) of a level that spans that many ranks, so neighbours in rank order are neighbours in the hierarchy.
 */
export interface Cluster {
  readonly name: string;
  /** From the innermost link outwards; level 0 joins the ranks of one node. */
  readonly levels: readonly Level[];
  /** How many ranks there are. At most the product of the levels' sizes: the last node may be partly used. */
  readonly ranks: number;
  /** Every rank drives one such device. */
  readonly device: DeviceProfile;
}

export interface Level {
  readonly name: string;
  /** How many units of the level below (ranks, for level 0) one unit of this level joins. */
  readonly size: number;
  /** What one rank can receive over this level's link while its peers do the same; one direction, 1e9 bytes a second. */
  readonly bandwidthGBps: number;
  /** From the start of a send until its first byte is there, in microseconds. */
  readonly latencyUs: number;
  /** How many ranks share a link of this level, such as their node's network card: together they get as many times `bandwidthGBps`. 1 if left out. */
  readonly ranksPerLink?: number;
  /** What one pair of ranks reaches while all others are silent, 1e9 bytes a second; as usual for the device if left out. */
  readonly pairGBps?: number;
  /** Where each number above comes from, by field name. */
  readonly sources?: Readonly<Record<string, string>>;
}

/** The number of ranks. */
export function worldSize(cluster: Cluster): number {
  return cluster.ranks;
}

/** The number of ranks in a full node: those joined by the innermost link. */
export function ranksPerNode(cluster: Cluster): number {
  return cluster.levels[0].size;
}

/** The number of nodes, the last of which may be partly used. */
export function nodesOf(cluster: Cluster): number {
  return Math.ceil(cluster.ranks / ranksPerNode(cluster));
}

/**
 * The node that holds `rank`.
 *
 * @throws RangeError if the cluster has no such rank.
 */
export function nodeOf(cluster: Cluster, rank: number): number {
  checkRank(cluster, rank);
  return Math.floor(rank / ranksPerNode(cluster));
}

/** The ranks of `node`, in order; fewer than `ranksPerNode` in a partly used last node. */
export function ranksOfNode(cluster: Cluster, node: number): number[] {
  const first = node * ranksPerNode(cluster);
  const count = Math.min(ranksPerNode(cluster), cluster.ranks - first);
  if (!(node >= 0 && count > 0)) throw new RangeError(`invalid node: ${node} (the cluster has ${nodesOf(cluster)})`);
  return Array.from({ length: count }, (_, i) => first + i);
}

/**
 * The index of the level whose link joins the two ranks: the innermost level with a unit that holds both.
 *
 * @throws RangeError if a rank does not exist, or both are the same: a rank needs no link to itself.
 */
export function levelBetween(cluster: Cluster, a: number, b: number): number {
  checkRank(cluster, a);
  checkRank(cluster, b);
  if (a === b) throw new RangeError(`no level: rank ${a} to itself (needs two ranks)`);
  let span = 1;
  return cluster.levels.findIndex(({ size }) => {
    span *= size;
    return Math.floor(a / span) === Math.floor(b / span);
  });
}

/** The number of ranks that a full unit of each level spans, innermost first: the running product of the sizes. */
export function spansOf(levels: readonly { readonly size: number }[]): number[] {
  let span = 1;
  return levels.map(({ size }) => {
    span *= size;
    return span;
  });
}

function checkRank(cluster: Cluster, rank: number): void {
  if (!(Number.isInteger(rank) && rank >= 0 && rank < cluster.ranks)) {
    throw new RangeError(`invalid rank: ${rank} (the cluster has ${cluster.ranks})`);
  }
}
