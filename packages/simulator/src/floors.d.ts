import { type Schedule } from "@hsap/schedule";
import type { Kernel } from "./hardware.ts";
/** Times below which no run of the schedule can be, in microseconds. */
export interface Floors {
    /** The busiest rank's unmasked pairs at the kernel's rate on endless tiles. */
    readonly computationUs: number;
    /** The busiest link's bytes at its bandwidth. */
    readonly bandwidthUs: number;
    /** All unmasked pairs of the problem, spread evenly: what no strategy can go below. */
    readonly problemUs: number;
}
/** `measuredUs` stands for the kernel where it is given: then the floor of computation is the busiest rank's measured time. */
export declare function floorsOf(schedule: Schedule, kernel: Kernel, carried: Float64Array, capacity: Float64Array, measuredUs?: Float64Array): Floors;
