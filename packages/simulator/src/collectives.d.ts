import { type GroupKind, type Schedule } from "@hsap/schedule";
import type { LinkMap } from "./links.ts";
import type { Groups } from "./program-items.ts";
/** Sends and receives of a schedule: what each carries, and which groups run as one collective of a library. */
export interface Transfers {
    /** The other side of each send or receive, as a row. */
    readonly partner: Int32Array;
    /** Bytes of each send or receive. */
    readonly bytes: Float64Array;
    /** Group of each send or receive, as a row of `Groups`; -1 for computation ops. */
    readonly groupOf: Int32Array;
    readonly rankOfGroup: Int32Array;
    /** Collective of each group, or -1 where its transfers go by themselves. */
    readonly collectiveOf: Int32Array;
    readonly collectives: readonly CollectiveInstance[];
}
/** Groups of several ranks that a library runs as one. */
export interface CollectiveInstance {
    readonly kind: GroupKind;
    readonly groups: readonly number[];
    readonly nodes: number;
    /** Bytes of the largest buffer of a rank: sent or received. */
    readonly bufferBytes: number;
    readonly parts: readonly CollectivePart[];
    /** The outermost level that it uses. */
    readonly level: number;
}
/** What moves as a whole: all of a ring, or what one rank receives of an all-to-all. */
export interface CollectivePart {
    /** Bytes over each link. */
    readonly load: ReadonlyMap<number, number>;
    /** The groups that are not finished before it is. */
    readonly groups: readonly number[];
}
/**
 * Pairs the transfers and forms collectives: groups of one kind that exchange something, directly or over others.
 *
 * @throws Error if a send or receive has no other side: such a schedule breaks the verifier's rule of matching.
 */
export declare function transfersOf(schedule: Schedule, groups: Groups, links: LinkMap): Transfers;
