import type { Cluster } from "@hsap/cluster";
import type { Pass, Tile } from "@hsap/schedule";
import type { Hardware, Kernel, KernelPass } from "./hardware.ts";
/**
 * (query, key) pairs of one head that a kernel pays for: thread blocks take whole squares of `tileRows` x `tileColumns`, so
 * a block computes what is masked or missing inside of its last square too, and each has an overhead. Forward, a block keeps
 * `tileRows` queries and walks over keys; backward, it keeps `tileColumns` keys and walks over queries.
 */
export declare function paidPairs(tile: Tile, pass: Pass, kernel: KernelPass): number;
/** Microseconds in which a device computes that many pairs of one head: 4 headDim operations each, backward 2.5 times that. */
export declare function pairsUs(pairs: number, headDim: number, pass: Pass, { shareOfPeak }: KernelPass, cluster: Cluster): number;
export declare const flopsPerPair: (headDim: number, pass: Pass) => number;
/** Microseconds of copies and sums that move so many bytes, each counted once for reading and once for writing. */
export declare function copyUs(bytes: number, { memory }: Hardware, { device }: Cluster): number;
/** A call of a kernel: several tiles at once, of documents packed end to end. */
export interface KernelCall {
    readonly tiles: readonly Tile[];
    readonly heads: number;
    readonly headDim: number;
    readonly pass: Pass;
}
/** Rate of one call by itself, in useful TFLOP/s, as benchmarks of kernels state it: without what its callers do around it. */
export declare function kernelTflops(call: KernelCall, kernel: Kernel, cluster: Cluster, area: number): number;
