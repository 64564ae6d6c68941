import { type Cluster, ranksPerNode } from "@hsap/cluster";
import { type AttentionShape, type Degrees, type Problem, ranksOf } from "@hsap/schedule";
import { InputError } from "@hsap/workload";

/**
 * How ranks work together. `ulysses` neighbours form a *unit*: they share its tokens, and each of them (its *lane*)
 * attends for its share of the heads (Jacobs et al., arXiv 2309.14509). Sequence-aware parallelism runs between units,
 * for each lane alike. Lanes share kv heads where there are fewer of these than lanes.
 */
export interface Hierarchy {
  readonly ulysses: number;
  readonly units: number;
  /** Units of node n are unitBegin[n] up to, not including, unitBegin[n + 1]; a unit of several nodes is a node by itself. */
  readonly unitBegin: readonly number[];
  /** The node of each unit. */
  readonly nodeOfUnit: readonly number[];
}

/**
 * The hierarchy that `degrees` describe; a degree left out is 1.
 *
 * @throws InputError if a degree is unknown or no positive integer, ulysses * sap is not the number of ranks, or units would not
 * share heads evenly, or be neither parts of nodes nor whole nodes.
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
  const refusal = headRefusal(problem.shape, ulysses) ?? nodeRefusal(problem.cluster, ulysses);
  if (refusal !== undefined) throw new InputError(`invalid degree: ulysses=${ulysses} (${refusal})`);
  return hierarchyOfUnits(problem.cluster, ulysses);
}

function hierarchyOfUnits(cluster: Cluster, ulysses: number): Hierarchy {
  const unitBegin = [0];
  const nodeOfUnit: number[] = [];
  for (const [node, size] of nodeSizes(cluster, ulysses).entries()) {
    for (let unit = 0; unit < size / ulysses; unit++) nodeOfUnit.push(node);
    unitBegin.push(nodeOfUnit.length);
  }
  return { ulysses, units: nodeOfUnit.length, unitBegin, nodeOfUnit };
}

/** Every ulysses degree that the shape and the cluster allow, ascending; 1 is always among them. */
export function ulyssesDegrees({ cluster, shape }: Problem): number[] {
  const degrees: number[] = [];
  for (let ulysses = 1; ulysses <= Math.min(shape.heads, cluster.ranks); ulysses++) {
    if (headRefusal(shape, ulysses) === undefined && nodeRefusal(cluster, ulysses) === undefined) degrees.push(ulysses);
  }
  return degrees;
}

function headRefusal({ heads, kvHeads }: AttentionShape, ulysses: number): string | undefined {
  if (heads % ulysses !== 0) return `must divide ${heads} heads`;
  if (kvHeads % ulysses !== 0 && ulysses % kvHeads !== 0)
    return `must divide ${kvHeads} kv heads or be a multiple of them`;
  return undefined;
}

function nodeRefusal(cluster: Cluster, ulysses: number): string | undefined {
  const node = ranksPerNode(cluster);
  if (ulysses > node && ulysses % node !== 0) return `must divide the ${node} ranks of a node or be a multiple of them`;
  const uneven = nodeSizes(cluster, ulysses).find((size) => size % ulysses !== 0);
  return uneven === undefined ? undefined : `must divide the ${uneven} ranks of each node`;
}

/** The rank of lane `lane` of `unit`: lanes are neighbours. */
export const rankOf = ({ ulysses }: Hierarchy, unit: number, lane: number): number => unit * ulysses + lane;

/** Heads that a lane attends for: half-open ranges of query heads and of the kv heads they read. */
export interface HeadSlice {
  readonly heads: readonly [number, number];
  readonly kvHeads: readonly [number, number];
}

export function headSlice(
  { ulysses }: Pick<Hierarchy, "ulysses">,
  { heads, kvHeads }: AttentionShape,
  lane: number,
): HeadSlice {
  const slice = (count: number) => [(count / ulysses) * lane, (count / ulysses) * (lane + 1)] as const;
  if (!sharesKvHeads({ ulysses }, { kvHeads })) return { heads: slice(heads), kvHeads: slice(kvHeads) };
  const kvHead = Math.floor((kvHeads / ulysses) * lane);
  return { heads: slice(heads), kvHeads: [kvHead, kvHead + 1] };
}

/** Whether several lanes have the same kv head, so that each has only a part of its gradient. */
export const sharesKvHeads = (
  { ulysses }: Pick<Hierarchy, "ulysses">,
  { kvHeads }: Pick<AttentionShape, "kvHeads">,
): boolean => ulysses > kvHeads;

/** The number of ranks of each node; units of several nodes are nodes here. Only the last one may have fewer. */
function nodeSizes(cluster: Cluster, ulysses: number): number[] {
  const size = Math.max(ulysses, ranksPerNode(cluster));
  const sizes = new Array<number>(Math.ceil(cluster.ranks / size)).fill(size);
  sizes[sizes.length - 1] = cluster.ranks - size * (sizes.length - 1);
  return sizes;
}
