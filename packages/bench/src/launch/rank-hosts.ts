/**
 * Where the ranks of a job run, as rank 0 tells the process that launched the job: of a rank that has died a launcher may know only
 * its number, and of a node that was cut off only its name.
 */
export class RankHosts {
  readonly #ranks = new Map<string, readonly number[]>();

  /** Takes a line of `rankHostLines`; false if it is none. */
  takes(line: string): boolean {
    const found = /^hsap: ranks ([\d,]+) are on (\S+)$/.exec(line);
    if (found === null) return false;
    this.#ranks.set(found[2], found[1].split(",").map(Number));
    return true;
  }

  hostOf(rank: number): string | undefined {
    return [...this.#ranks].find(([, ranks]) => ranks.includes(rank))?.[0];
  }

  /** `ranks 4 to 7 on node1`; only the host where nobody said which ranks it has. */
  ranksOn(host: string): string {
    const ranks = this.#ranks.get(host);
    return ranks === undefined ? host : `${rankList(ranks)} on ${host}`;
  }
}

/** A line for each host, given the host of each rank. */
export function rankHostLines(hosts: readonly string[]): string[] {
  const ranks = new Map<string, number[]>();
  for (const [rank, host] of hosts.entries()) ranks.set(host, [...(ranks.get(host) ?? []), rank]);
  return [...ranks].map(([host, own]) => `hsap: ranks ${own} are on ${host}`);
}

function rankList(ranks: readonly number[]): string {
  if (ranks.length === 1) return `rank ${ranks[0]}`;
  const consecutive = ranks.every((rank, i) => rank === ranks[0] + i);
  return `ranks ${consecutive ? `${ranks[0]} to ${ranks.at(-1)}` : ranks.join(", ")}`;
}
