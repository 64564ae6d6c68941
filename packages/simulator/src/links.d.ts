import type { Cluster } from "@hsap/cluster";
/**
 * The links of a cluster as capacities. Every rank has a port inside its node, and one card for each level above (which
 * several ranks may share), each with both directions apart: what a rank sends and what it receives do not compete. A level's
 * bandwidth is what one rank gets while its peers do the same, so nothing further out than ports and cards is narrower.
 */
export declare class LinkMap {
    #private;
    readonly cluster: Cluster;
    readonly ranksPerNic: number;
    /** Bytes a microsecond. */
    readonly capacity: Float64Array;
    /** Level of each link. */
    readonly level: Uint8Array;
    constructor(cluster: Cluster, ranksPerNic: number);
    /** The link that `rank` sends over at `level`. */
    out(rank: number, level: number): number;
    /** The link that `rank` receives over at `level`. */
    into(rank: number, level: number): number;
    /** The links on the way from one rank to another: the port inside a node, or the cards of all levels crossed. */
    path(from: number, to: number): number[];
}
