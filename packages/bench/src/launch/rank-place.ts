import { InputError } from "@hsap/workload";

/** A process's place among those that one launcher started, as the launcher says in its variables. */
export interface RankPlace {
  readonly launcher: "Open MPI" | "MPICH" | "Slurm" | "torchrun";
  readonly rank: number;
  readonly ranks: number;
  /** Place among the ranks of its node. */
  readonly nodeRank: number;
  /** How many ranks its node has; undefined where the launcher does not say. */
  readonly nodeRanks?: number;
}

type Environment = Readonly<Record<string, string | undefined>>;

interface Variables {
  readonly launcher: RankPlace["launcher"];
  readonly rank: string;
  readonly ranks: string;
  readonly nodeRank: string;
  readonly nodeRanks?: string;
}

/**
 * In the order in which they are believed. Slurm sets its variables for a batch script too, and keeps them where mpirun starts
 * ranks inside of an allocation, so mpirun's own come first.
 */
const launchers: readonly Variables[] = [
  {
    launcher: "Open MPI",
    rank: "OMPI_COMM_WORLD_RANK",
    ranks: "OMPI_COMM_WORLD_SIZE",
    nodeRank: "OMPI_COMM_WORLD_LOCAL_RANK",
    nodeRanks: "OMPI_COMM_WORLD_LOCAL_SIZE",
  },
  { launcher: "MPICH", rank: "PMI_RANK", ranks: "PMI_SIZE", nodeRank: "MPI_LOCALRANKID", nodeRanks: "MPI_LOCALNRANKS" },
  { launcher: "Slurm", rank: "SLURM_PROCID", ranks: "SLURM_STEP_NUM_TASKS", nodeRank: "SLURM_LOCALID" },
  { launcher: "torchrun", rank: "RANK", ranks: "WORLD_SIZE", nodeRank: "LOCAL_RANK", nodeRanks: "LOCAL_WORLD_SIZE" },
];

/**
 * The place that Open MPI's, MPICH's, Slurm's or torchrun's variables give this process; undefined where there are none.
 *
 * @throws InputError if a launcher's variables are incomplete or contradict each other.
 */
export function rankPlaceOf(environment: Environment): RankPlace | undefined {
  const found = launchers.find(({ rank, ranks }) => isSet(environment[rank]) && isSet(environment[ranks]));
  if (found === undefined) return undefined;
  const { launcher } = found;
  const rank = countOf(environment, found.rank);
  const ranks = countOf(environment, found.ranks, 1);
  if (rank >= ranks) throw new InputError(`invalid ${found.rank}: ${rank} (must be below ${found.ranks}, ${ranks})`);
  // Some start scripts leave the local rank out where there is one rank a node.
  const nodeRank = isSet(environment[found.nodeRank]) ? countOf(environment, found.nodeRank) : 0;
  const nodeRanks =
    found.nodeRanks !== undefined && isSet(environment[found.nodeRanks])
      ? countOf(environment, found.nodeRanks, 1)
      : undefined;
  if (nodeRank >= (nodeRanks ?? ranks)) {
    throw new InputError(`invalid ${found.nodeRank}: ${nodeRank} (must be below ${nodeRanks ?? ranks})`);
  }
  return { launcher, rank, ranks, nodeRank, ...(nodeRanks !== undefined && { nodeRanks }) };
}

function isSet(value: string | undefined): boolean {
  return value !== undefined && value !== "";
}

function countOf(environment: Environment, name: string, least = 0): number {
  const text = environment[name] ?? "";
  const value = /^[0-9]+$/.test(text) ? Number(text) : Number.NaN;
  if (value >= least && Number.isSafeInteger(value)) return value;
  throw new InputError(`invalid ${name}: ${JSON.stringify(text)} (must be a whole number of at least ${least})`);
}
