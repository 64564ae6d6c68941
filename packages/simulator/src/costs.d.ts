import { type Schedule } from "@hsap/schedule";
import type { Transfers } from "./collectives.ts";
import type { Hardware, Kernel } from "./hardware.ts";
import { type ProgramItems } from "./program-items.ts";
/** What each call and group costs by itself, in microseconds. */
export interface Costs {
    /** Device time of each call, and of each op inside it. */
    readonly callUs: Float64Array;
    readonly opUs: Float64Array;
    /** When the host has issued each item, if nothing holds it up. */
    readonly callIssuedUs: Float64Array;
    readonly groupIssuedUs: Float64Array;
    readonly collectives: readonly CollectiveCost[];
}
export interface CollectiveCost {
    /** Before the first byte moves: launch, steps, packing at both ends. */
    readonly fixedUs: number;
    readonly parts: readonly FlowCost[];
}
/** A flow over many links: bytes on its busiest link, and each link's bytes for one of those. */
export interface FlowCost {
    readonly bytes: number;
    readonly links: readonly number[];
    readonly weights: readonly number[];
}
/** Puts a price on every item of a schedule; `kernel` computes the attention. */
export declare function costsOf(schedule: Schedule, items: ProgramItems, transfers: Transfers, hardware: Hardware, kernel: Kernel): Costs;
