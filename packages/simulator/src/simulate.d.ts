import { type Schedule, type Trace } from "@hsap/schedule";
import { type RankBreakdown } from "./breakdown.ts";
import { type Transfers } from "./collectives.ts";
import { type Costs } from "./costs.ts";
import { type Floors } from "./floors.ts";
import { type Hardware } from "./hardware.ts";
import { LinkMap } from "./links.ts";
import { type ProgramItems } from "./program-items.ts";
export interface SimulationOptions {
    /** What is known of the device and its libraries; that of the cluster's device where left out. */
    readonly hardware?: Hardware | undefined;
    /** The attention kernel, by its name in the hardware file; its first where left out. */
    readonly kernel?: string | undefined;
    /** What each op waits for, if known: `op.waitFor` of a lowered schedule. Worked out from the data where left out. */
    readonly waits?: Int32Array | undefined;
    /** Device time of each op, in microseconds, instead of the kernel's: what a measured run took. */
    readonly measuredUs?: Float64Array | undefined;
}
/** What a schedule is predicted to do on the cluster of its problem. */
export interface Simulation {
    readonly trace: Trace;
    readonly perRank: readonly RankBreakdown[];
    readonly floors: Floors;
    /** Bytes that each level's links carry between their ranks: a collective counts what its algorithm sends. */
    readonly carriedBytesByLevel: readonly number[];
    /** Highest use of any link, as a share of its bandwidth. At most 1. */
    readonly highestLinkUse: number;
    readonly kernel: string;
}
/** A schedule made ready to be simulated with different hardware: its calls, groups and collectives. */
export interface PreparedSchedule {
    readonly schedule: Schedule;
    readonly items: ProgramItems;
    readonly transfers: Transfers;
    readonly links: LinkMap;
}
/**
 * Predicts when each op of a schedule runs: a discrete-event simulation of two lanes for each rank, whose transfers share the
 * links of the cluster fairly. The schedule should have passed the verifier.
 *
 * @throws InputError if the hardware has no such kernel, or nothing is known of the device.
 * @throws Error if the schedule's programs wait for each other for ever.
 */
export declare function simulate(schedule: Schedule, options?: SimulationOptions): Simulation;
/** The part of a simulation that does not depend on how fast anything is. */
export declare function prepareSchedule(schedule: Schedule, ranksPerNic?: number, waits?: Int32Array<ArrayBufferLike>): PreparedSchedule;
/** As `simulate`, of a schedule that was prepared before. */
export declare function simulatePrepared(prepared: PreparedSchedule, options?: SimulationOptions): Simulation;
/** One run of the event loop. All times are microseconds; rows are those of calls, groups and ops. */
export declare class Run {
    #private;
    private readonly prepared;
    private readonly costs;
    private readonly hardware;
    readonly callBeginUs: Float64Array;
    readonly callEndUs: Float64Array;
    readonly groupBeginUs: Float64Array;
    readonly groupEndUs: Float64Array;
    /** When the last partner of a group was there, so that its bytes could move. */
    readonly groupMetUs: Float64Array;
    nowUs: number;
    constructor(prepared: PreparedSchedule, costs: Costs, hardware: Hardware);
    get carried(): Float64Array;
    highestUse(): number;
    toEnd(): void;
    trace(): Trace;
}
