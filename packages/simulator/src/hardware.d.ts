import type { Cluster } from "@hsap/cluster";
import { type GroupKind } from "@hsap/schedule";
/**
 * What the simulator knows of a device and of the libraries that drive it, besides what the cluster says of links and peaks.
 * Every number lies in a file of `hardware/` with its source.
 */
export interface Hardware {
    /** Devices that the numbers were made for; others take the same shares of their own peaks. */
    readonly devices: readonly string[];
    readonly kernels: Readonly<Record<string, Kernel>>;
    readonly memory: {
        /** Copies, gathers and sums of the kind that surround attention: share of the device's memory bandwidth. */
        readonly copyShare: number;
        /** Launch of one such kernel. */
        readonly launchUs: number;
    };
    readonly communication: Communication;
}
/** An attention kernel, and what its usual callers do around each call. */
export interface Kernel {
    readonly forward: KernelPass;
    readonly backward: KernelPass;
}
export interface KernelPass {
    /** Rate on endless tiles: share of the device's peak. */
    readonly shareOfPeak: number;
    /** Query rows, and keys, that one thread block takes at once. What is masked inside of such a square is computed all the same. */
    readonly tileRows: number;
    readonly tileColumns: number;
    /**
     * What a thread block costs before its first and after its last square, in keys (forward: a block keeps its queries) or
     * query rows (backward: a block keeps its keys) of further work.
     */
    readonly overheadTokens: number;
    /** From the launch until the first block runs, and from the last block until the next kernel starts. */
    readonly launchUs: number;
    /**
     * Time of a thread block without work. A call over many documents is launched as if each were as long as the longest, and
     * the blocks beyond a document's end find nothing to do; 0 for a kernel that deals out only blocks with work.
     */
    readonly emptyBlockUs: number;
    /** What the host needs to issue a call. It runs ahead of the device, and holds it up only where calls are shorter. */
    readonly hostUs: number;
    /** Bytes moved around each call: passes over its query rows (one pass: tokens * heads * headDim * element) and its k and v rows. */
    readonly queryPasses: number;
    readonly keyPasses: number;
    /** Further passes over query rows to which an earlier call has already added something. */
    readonly accumulatePasses: number;
}
export interface Communication {
    /** From the moment at which all are ready until the first byte leaves, besides the latency of the link. */
    readonly launchUs: number;
    readonly hostUs: number;
    /** Factor on the time of computation that runs while the rank's communication lane is busy. */
    readonly slowdown: number;
    /** Ranks that share one network card; together they get as many times a rank's bandwidth. */
    readonly ranksPerNic: number;
    /** Each step of a ring, inside a node and between nodes. */
    readonly hopUs: readonly [number, number];
    readonly collectives: Readonly<Partial<Record<GroupKind, Collective>>>;
}
export interface Collective {
    /** Before the first step of a ring. */
    readonly baseUs: number;
    /** `ring`: every rank waits for P - 1 steps, `pairs`: for one. */
    readonly algorithm: "ring" | "pairs";
    /** Passes over what a rank sends and receives, to pack and unpack it. */
    readonly packPasses: number;
    /** Share of the links' line rate by the bytes of a rank's buffer, for so many nodes (the nearest in log scale is taken). */
    readonly shares: readonly CollectiveShare[];
    /** Line rate inside a node and between nodes, as a multiple of the bandwidth of the cluster's level. */
    readonly lineRate: readonly [number, number];
}
export interface CollectiveShare {
    readonly nodes: number;
    readonly points: readonly (readonly [bytes: number, share: number])[];
}
/** The kernel that stands first in a hardware file. */
export declare const defaultKernelOf: ({ kernels }: Hardware) => string;
/**
 * The hardware file that names the cluster's device; for a device that none names, the file with the same element type.
 *
 * @throws InputError if there is neither.
 */
export declare function hardwareOf({ device }: Cluster): Hardware;
/** Whether the numbers were made for the cluster's own device, not taken over from another one. */
export declare const isOwnHardware: (hardware: Hardware, { device }: Cluster) => boolean;
/**
 * Reads a hardware file. A number may be written bare or as `{ value: 0.7, source: where it comes from }`.
 *
 * @throws InputError if the text does not describe hardware; `file` names it in the message.
 */
export declare function parseHardware(text: string, file: string): Hardware & {
    readonly dtype: string;
};
/** Every source that the file names, by the path of its number. */
export declare function sourcesIn(text: string): Record<string, string>;
