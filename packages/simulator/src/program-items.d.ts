import { type Schedule } from "@hsap/schedule";
/**
 * The programs of a schedule as what a device runs: on the computation lane *calls*, on the communication lane groups. One call
 * is a run of like ops that follow each other in the program and wait for nothing in between: a variable-length kernel takes
 * all tiles of a step at once. Rows of all ranks lie one after another.
 */
export interface ProgramItems {
    readonly ranks: number;
    readonly calls: Calls;
    readonly groups: Groups;
}
export interface Calls {
    /** Calls of rank r: rows begin[r] to begin[r + 1]. */
    readonly begin: Int32Array;
    /** First op of each call; its ops end where `opEnd` says. */
    readonly opBegin: Int32Array;
    readonly opEnd: Int32Array;
    /** How many groups of the rank must be finished first. */
    readonly waitFor: Int32Array;
    /** Place among all items of the rank, in issue order. */
    readonly issue: Int32Array;
    /** 1 for calls of the attention kernel. */
    readonly isAttention: Uint8Array;
    /** Bytes of the query rows, the k and v rows, and the query rows that were added to before (attention), once each. */
    readonly queryBytes: Float64Array;
    readonly keyBytes: Float64Array;
    readonly accumulatedBytes: Float64Array;
    /** Bytes read and written by other ops. */
    readonly movedBytes: Float64Array;
    /** Documents of a call of the attention kernel, times its query heads; and the most queries and keys of one of them. */
    readonly sequences: Float64Array;
    readonly longestQueries: Int32Array;
    readonly longestKeys: Int32Array;
}
export interface Groups {
    readonly begin: Int32Array;
    readonly opBegin: Int32Array;
    readonly opEnd: Int32Array;
    /** How many calls of the rank must be finished first. */
    readonly waitFor: Int32Array;
    readonly issue: Int32Array;
    /** Index into `groupKinds`. */
    readonly kind: Uint8Array;
}
export declare const isTileOp: (kind: number) => boolean;
/** Cuts the programs into calls and groups. `waits` is `dataWaitsOf(schedule)`, or `op.waitFor` of a lowered schedule. */
export declare function programItemsOf(schedule: Schedule, waits?: Int32Array): ProgramItems;
export declare const causalMask: number;
