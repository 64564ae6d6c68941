import { readdirSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { InputError } from "@hsap/workload";
import type { Cluster, Level } from "./cluster.ts";
import { readCluster } from "./cluster-file.ts";

// Both src and dist are direct children of the package, so the presets lie beside either.
const presetDirectory = fileURLToPath(new URL("../presets/", import.meta.url));

/** The names that `presetCluster` knows, sorted. */
export function presetNames(): string[] {
  return readdirSync(presetDirectory)
    .filter((file) => file.endsWith(".yaml"))
    .map((file) => file.slice(0, -".yaml".length))
    .sort();
}

/**
 * The preset cluster of that name, at the size its file gives.
 *
 * @throws InputError if there is none.
 */
export function presetCluster(name: string): Cluster {
  const known = read.get(name);
  if (known) return known;
  if (!presetNames().includes(name)) {
    throw new InputError(`unknown cluster: ${name} (known: ${presetNames().join(", ")}, or a .yaml file)`);
  }
  const cluster = readCluster(`${presetDirectory}${name}.yaml`);
  read.set(name, cluster);
  return cluster;
}

// The files come with this package and do not change while it runs.
const read = new Map<string, Cluster>();

/**
 * The cluster that a user names: a preset, or a file that ends in .yaml or .yml.
 *
 * @throws InputError if there is no such preset, or the file does not describe a cluster.
 */
export function namedCluster(nameOrFile: string): Cluster {
  return /\.ya?ml$/i.test(nameOrFile) ? readCluster(nameOrFile) : presetCluster(nameOrFile);
}

export interface ClusterSize {
  /** How many ranks there are. */
  readonly ranks: number;
  /** How many of them a full node holds; as in `from` where it is left out. */
  readonly ranksPerNode?: number | undefined;
  /** The cluster whose links and devices to take; the preset `local` where it is left out. */
  readonly from?: Cluster | undefined;
}

/**
 * A cluster of the given number of ranks with the links and devices of `from`. Inner levels keep their sizes, the
 * outermost one grows or shrinks to what is needed, and levels that nothing crosses are left out. The last node may be
 * partly used.
 *
 * @throws InputError if a count is not a whole number of at least 1.
 */
export function clusterOf({ ranks, ranksPerNode, from = presetCluster("local") }: ClusterSize): Cluster {
  checkCount("ranks", ranks);
  if (ranksPerNode !== undefined) checkCount("ranksPerNode", ranksPerNode);
  const [node, ...outer] = from.levels;
  const wanted = [{ ...node, size: ranksPerNode ?? node.size }, ...outer];
  const levels: Level[] = [];
  let units = ranks;
  for (const [index, level] of wanted.entries()) {
    if (units === 1 && levels.length > 0) break;
    const grows = index === wanted.length - 1 && !(index === 0 && ranksPerNode !== undefined);
    const size = grows ? units : Math.min(level.size, units);
    levels.push({ ...level, size });
    units = Math.ceil(units / size);
  }
  if (units > 1) throw new InputError(`invalid ranksPerNode: ${ranksPerNode} (${from.name} has no link between nodes)`);
  return { ...from, levels, ranks };
}

function checkCount(name: string, value: number): void {
  if (!Number.isInteger(value) || value < 1) {
    throw new InputError(`invalid ${name}: ${value} (must be a whole number of at least 1)`);
  }
}
