import { readFileSync } from "node:fs";
import { kernelIsas, type MpiWorld } from "@hsap/engine";
import { z } from "zod";

const rankRecordSchema = z.strictObject({
  rank: z.int(),
  host: z.string(),
  /** Place among the ranks of its node. */
  nodeRank: z.int(),
  /** Processors that it may run on, as `0-3,8`; empty where the system does not say. */
  cpus: z.string(),
  isas: z.array(z.string()),
});

/** Where the ranks of a job ran. */
export const jobRecordSchema = z.strictObject({
  transport: z.literal("mpi"),
  library: z.string(),
  standard: z.string(),
  threadLevel: z.string(),
  /** What started the ranks, by its variables. */
  launcher: z.string(),
  ranks: z.array(rankRecordSchema),
});

export type RankRecord = Readonly<z.infer<typeof rankRecordSchema>>;
export type JobRecord = Readonly<z.infer<typeof jobRecordSchema>>;

/** Gathers what is recorded of a job's ranks; every rank calls it, rank 0 gets the record. */
export async function recordJob(world: MpiWorld, launcher: string): Promise<JobRecord | undefined> {
  const { rank, nodeRank, hosts, library, standard, threadLevel } = world;
  const own: RankRecord = { rank, host: hosts[rank], nodeRank, cpus: allowedCpus(), isas: [...kernelIsas()] };
  const all = await world.gather(Buffer.from(JSON.stringify(own)));
  if (rank !== 0) return undefined;
  const ranks = all.map((bytes) => JSON.parse(Buffer.from(bytes).toString()) as RankRecord);
  return { transport: "mpi", library, standard, threadLevel, launcher, ranks };
}

/** How many different hosts the ranks have. */
export function hostsOf({ ranks }: JobRecord): number {
  return new Set(ranks.map(({ host }) => host)).size;
}

/** What is odd about where ranks lie if every `ranksPerNode` of them should be a node; undefined if nothing is. */
export function misplacement({ ranks }: JobRecord, ranksPerNode: number): string | undefined {
  for (let first = 0; first < ranks.length; first += ranksPerNode) {
    const node = ranks.slice(first, first + ranksPerNode);
    const other = node.find(({ host }) => host !== node[0].host);
    if (other !== undefined) {
      return `ranks ${first} and ${other.rank} should share a node, but lie on ${node[0].host} and ${other.host}`;
    }
    const before = ranks[first - 1];
    if (before !== undefined && before.host === node[0].host) {
      return `ranks ${first - 1} and ${first} should lie on different nodes, but both lie on ${before.host}`;
    }
  }
  return undefined;
}

function allowedCpus(): string {
  try {
    const status = readFileSync("/proc/self/status", "utf8");
    return /^Cpus_allowed_list:\s*(\S+)$/m.exec(status)?.[1] ?? "";
  } catch {
    return "";
  }
}
