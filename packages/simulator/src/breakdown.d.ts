import type { PreparedSchedule, Run } from "./simulate.ts";
/** How one rank spends the step, in microseconds; the first three add up to the step. */
export interface RankBreakdown {
    readonly computingUs: number;
    /** Not computing while bytes of its own move. */
    readonly exposedCommunicationUs: number;
    /** Not computing and nothing moves: it waits for another rank, for its host, or for the end of the step. */
    readonly waitingUs: number;
    /** Bytes of its own move, hidden behind computation or not. */
    readonly communicatingUs: number;
    /** The exposed communication by the outermost level that the group uses, innermost first. */
    readonly exposedByLevelUs: readonly number[];
}
/** Reads the breakdown of every rank off the times of a run. */
export declare function rankBreakdowns(prepared: PreparedSchedule, run: Run): RankBreakdown[];
