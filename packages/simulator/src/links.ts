import { type Cluster, spansOf } from "@hsap/cluster";

/**
 * The links of a cluster as capacities. Every rank has a port inside its node, and one card for each level above (which
 * several ranks may share), each with both directions apart: what a rank sends and what it receives do not compete. A level's
 * bandwidth is what one rank gets while its peers do the same, so nothing further out than ports and cards is narrower.
 */
export class LinkMap {
  /** Bytes a microsecond. */
  readonly capacity: Float64Array;
  /** Level of each link. */
  readonly level: Uint8Array;
  readonly #linksOfLevel: number;
  readonly #spans: readonly number[];

  constructor(
    readonly cluster: Cluster,
    readonly ranksPerNic: number,
  ) {
    const { levels, ranks } = cluster;
    this.#spans = spansOf(levels);
    this.#linksOfLevel = 2 * ranks;
    this.capacity = new Float64Array(levels.length * this.#linksOfLevel);
    this.level = new Uint8Array(this.capacity.length);
    levels.forEach(({ bandwidthGBps }, level) => {
      const sharing = level === 0 ? 1 : ranksPerNic;
      const begin = level * this.#linksOfLevel;
      this.capacity.fill(sharing * bandwidthGBps * 1e3, begin, begin + this.#linksOfLevel);
      this.level.fill(level, begin, begin + this.#linksOfLevel);
    });
  }

  /** The link that `rank` sends over at `level`. */
  out(rank: number, level: number): number {
    return level * this.#linksOfLevel + 2 * this.#portOf(rank, level);
  }

  /** The link that `rank` receives over at `level`. */
  into(rank: number, level: number): number {
    return this.out(rank, level) + 1;
  }

  /** As the cluster's `levelBetween` of two different ranks that exist: asked for every message. */
  levelBetween(a: number, b: number): number {
    let level = 0;
    while (Math.floor(a / this.#spans[level]) !== Math.floor(b / this.#spans[level])) level++;
    return level;
  }

  /** The links on the way from one rank to another: the port inside a node, or the cards of all levels crossed. */
  path(from: number, to: number): number[] {
    const outermost = this.levelBetween(from, to);
    const links: number[] = [];
    for (let level = Math.min(1, outermost); level <= outermost; level++)
      links.push(this.out(from, level), this.into(to, level));
    return links;
  }

  #portOf(rank: number, level: number): number {
    return level === 0 ? rank : Math.floor(rank / this.ranksPerNic);
  }
}
