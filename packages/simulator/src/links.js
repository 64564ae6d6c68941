import { levelBetween } from "@hsap/cluster";
/**
 * The links of a cluster as capacities. Every rank has a port inside its node, and one card for each level above (which
 * several ranks may share), each with both directions apart: what a rank sends and what it receives do not compete. A level's
 * bandwidth is what one rank gets while its peers do the same, so nothing further out than ports and cards is narrower.
 */
export class LinkMap {
    cluster;
    ranksPerNic;
    /** Bytes a microsecond. */
    capacity;
    /** Level of each link. */
    level;
    #linksOfLevel;
    constructor(cluster, ranksPerNic) {
        this.cluster = cluster;
        this.ranksPerNic = ranksPerNic;
        const { levels, ranks } = cluster;
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
    out(rank, level) {
        return level * this.#linksOfLevel + 2 * this.#portOf(rank, level);
    }
    /** The link that `rank` receives over at `level`. */
    into(rank, level) {
        return this.out(rank, level) + 1;
    }
    /** The links on the way from one rank to another: the port inside a node, or the cards of all levels crossed. */
    path(from, to) {
        const outermost = levelBetween(this.cluster, from, to);
        const links = [];
        for (let level = Math.min(1, outermost); level <= outermost; level++)
            links.push(this.out(from, level), this.into(to, level));
        return links;
    }
    #portOf(rank, level) {
        return level === 0 ? rank : Math.floor(rank / this.ranksPerNic);
    }
}
//# sourceMappingURL=links.js.map