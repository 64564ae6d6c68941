import { clusterOf, presetCluster } from "@hsap/cluster";
import type { AttentionShape, Problem, Strategy } from "@hsap/schedule";
import { InputError, namedPack, packNames } from "@hsap/workload";
import { median } from "../statistics.ts";
import { strategies as allStrategies } from "../strategies.ts";
import { type Comparison, compareStrategies } from "./comparison.ts";

/** The shape and cluster for which planners have published balance and bytes of the project's packs. */
export const packSetting = {
  shape: { heads: 64, kvHeads: 8, headDim: 128, dtype: "bf16" } satisfies AttentionShape,
  ranksPerNode: 8,
  cluster: "h100-400g",
} as const;

/** One of the fixed packs, and all strategies on it. */
export interface ComparedPack {
  readonly name: string;
  readonly ranks: number;
  readonly comparison: Comparison;
}

export interface PackComparisonOptions {
  /** Those of the registry where left out. */
  readonly strategies?: readonly Strategy[];
  /** All that come with the project where left out. */
  readonly packs?: readonly string[];
  readonly all?: boolean | undefined;
  readonly signal?: AbortSignal | undefined;
  /** `done` is the share of the work, 0 to 1. */
  readonly onProgress?: ((done: number, label: string) => void) | undefined;
}

/** Compares all strategies on the fixed packs, forward, each with its own choice of degrees: counted, not measured. */
export async function comparePacks(given: PackComparisonOptions = {}): Promise<ComparedPack[]> {
  const { strategies = allStrategies, packs = packNames(), all, signal, onProgress } = given;
  const compared: ComparedPack[] = [];
  const weights = packs.map(ranksOfPack);
  const total = weights.reduce((sum, ranks) => sum + ranks, 0);
  let done = 0;
  for (const [i, name] of packs.entries()) {
    onProgress?.(done / total, name);
    const comparison = await compareStrategies(packProblem(name), { strategies, all, signal });
    compared.push({ name, ranks: weights[i], comparison });
    done += weights[i];
  }
  onProgress?.(1, "done");
  return compared.sort((a, b) => a.ranks - b.ranks || (a.name < b.name ? -1 : 1));
}

/**
 * The forward problem of a fixed pack such as `hybrid-64`.
 *
 * @throws InputError if there is no such pack.
 */
export function packProblem(name: string): Problem {
  const { shape, ranksPerNode, cluster } = packSetting;
  const batch = namedPack(name);
  const from = presetCluster(cluster);
  return {
    batch,
    shape,
    cluster: clusterOf({ ranks: ranksOfPack(name), ranksPerNode, from }),
    mask: "causal",
    pass: "forward",
  };
}

/** What a table shows of each strategy on each pack. */
export interface PackMeasure {
  readonly name: string;
  readonly of: (row: Comparison["rows"][number]) => number;
}

export const packMeasures = {
  balance: { name: "balance", of: (row) => row.balance.area },
  betweenNodes: { name: "bytes between nodes", of: (row) => row.betweenNodesBytes },
  receivedMax: { name: "bytes received by the highest rank", of: (row) => row.receivedBytes.max },
} as const satisfies Readonly<Record<string, PackMeasure>>;

/** How a strategy stands to another one over the packs on which both are and that one's value is not 0. */
export interface RatioOverPacks {
  readonly median: number;
  readonly lowest: number;
  readonly highest: number;
  /** Packs that the ratios are of. */
  readonly packs: number;
}

/** The ratios of one measure, `strategy` to `to`; undefined if no pack has both. */
export function ratioOverPacks(
  packs: readonly ComparedPack[],
  { of }: PackMeasure,
  { strategy, to }: { readonly strategy: string; readonly to: string },
): RatioOverPacks | undefined {
  const ratios = packs.flatMap(({ comparison: { rows } }) => {
    const [ours, theirs] = [strategy, to].map((name) => rows.find((row) => row.strategy === name));
    return ours === undefined || theirs === undefined || of(theirs) === 0 ? [] : [of(ours) / of(theirs)];
  });
  if (ratios.length === 0) return undefined;
  return { median: median(ratios), lowest: Math.min(...ratios), highest: Math.max(...ratios), packs: ratios.length };
}

function ranksOfPack(name: string): number {
  const ranks = Number(/-(\d+)$/.exec(name)?.[1]);
  if (!Number.isInteger(ranks)) throw new InputError(`unknown pack: ${name} (must end in its ranks, such as hybrid-8)`);
  return ranks;
}
