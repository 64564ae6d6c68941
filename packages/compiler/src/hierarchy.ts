import { type Cluster, nodeOf, nodesOf, ranksOfNode, ranksPerNode } from "@hsap/cluster";
import { type AttentionShape, type Degrees, type Problem, ranksOf } from "@hsap/schedule";
import { InputError } from "@hsap/workload";

/**
 * How ranks work together. `ulysses` neighbours of one node form a *unit*: they share its tokens, and each of them
 * (its *lane*) attends for its share of the heads (Jacobs et al., arXiv 2309.14509). Sequence-aware parallelism runs
 * between units, for each lane alike.
 */
export interface Hierarchy {
  readonly ulysses: number;
  readonly units: number;
  /** Units of node n are unitBegin[n] up to, not including, unitBegin[n + 1]. */
  readonly unitBegin: readonly number[];
  /** The node of each unit. */
  readonly nodeOfUnit: readonly number[];
}

/**
 * The hierarchy that `degrees` describe; a degree left out is 1.
 *
 * @throws InputError if a degree is unknown or no positive integer, ulysses * sap is not the number of ranks, or units would not
 * share kv heads evenly or reach over a node's border.
 */
export function hierarchyOf(problem: Problem, degrees: Degrees): Hierarchy {
  const ranks = ranksOf(problem);
  const { ulysses = 1, sap = 1, ...unknown } = degrees;
  for (const name of Object.keys(unknown)) throw new InputError(`unknown degree: ${name} (hsap has ulysses, sap)`);
  for (const [name, degree] of Object.entries({ ulysses, sap })) {
    if (!Number.isInteger(degree) || degree < 1) {
      throw new InputError(`invalid degree: ${name}=${degree} (must be a whole number of at least 1)`);
    }
  }
  if (ulysses * sap !== ranks) {
    throw new InputError(`invalid degrees: ulysses=${ulysses},sap=${sap} (must multiply to ${ranks} ranks)`);
  }
  if (problem.shape.kvHeads % ulysses !== 0) {
    throw new InputError(`invalid degree: ulysses=${ulysses} (must divide ${problem.shape.kvHeads} kv heads)`);
  }
  const uneven = nodeSizes(problem.cluster).find((size) => size % ulysses !== 0);
  if (uneven !== undefined) {
    throw new InputError(`invalid degree: ulysses=${ulysses} (must divide the ${uneven} ranks of each node)`);
  }
  const unitBegin = [0];
  for (const size of nodeSizes(problem.cluster)) unitBegin.push(unitBegin[unitBegin.length - 1] + size / ulysses);
  const nodeOfUnit = Array.from({ length: sap }, (_, unit) => nodeOf(problem.cluster, unit * ulysses));
  return { ulysses, units: sap, unitBegin, nodeOfUnit };
}

/** Every ulysses degree that the shape and the cluster allow, ascending; 1 is always among them. */
export function ulyssesDegrees({ cluster, shape }: Problem): number[] {
  const sizes = nodeSizes(cluster);
  return Array.from({ length: Math.min(shape.kvHeads, ranksPerNode(cluster)) }, (_, i) => i + 1).filter(
    (ulysses) => shape.kvHeads % ulysses === 0 && sizes.every((size) => size % ulysses === 0),
  );
}

/** The rank of lane `lane` of `unit`: lanes are neighbours. */
export const rankOf = ({ ulysses }: Hierarchy, unit: number, lane: number): number => unit * ulysses + lane;

/** Heads that a lane attends for: half-open ranges of query heads and of the kv heads they read. */
export interface HeadSlice {
  readonly heads: readonly [number, number];
  readonly kvHeads: readonly [number, number];
}

export function headSlice({ ulysses }: Hierarchy, { heads, kvHeads }: AttentionShape, lane: number): HeadSlice {
  const slice = (count: number) => [(count / ulysses) * lane, (count / ulysses) * (lane + 1)] as const;
  return { heads: slice(heads), kvHeads: slice(kvHeads) };
}

function nodeSizes(cluster: Cluster): number[] {
  return Array.from({ length: nodesOf(cluster) }, (_, node) => ranksOfNode(cluster, node).length);
}
