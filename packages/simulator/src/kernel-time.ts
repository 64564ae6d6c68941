import type { Cluster } from "@hsap/cluster";
import type { Pass, Tile } from "@hsap/schedule";
import type { Hardware, Kernel, KernelPass } from "./hardware.ts";

/**
 * (query, key) pairs of one head that a kernel pays for: thread blocks take whole squares of `tileRows` x `tileColumns`, so
 * a block computes what is masked or missing inside of its last square too, and each has an overhead. Forward, a block keeps
 * `tileRows` queries and walks over keys; backward, it keeps `tileColumns` keys and walks over queries.
 */
export function paidPairs(tile: Tile, pass: Pass, kernel: KernelPass): number {
  return pass === "forward" ? paidForward(tile, kernel) : paidBackward(tile, kernel);
}

/** Microseconds in which a device computes that many pairs of one head: 4 headDim operations each, backward 2.5 times that. */
export function pairsUs(pairs: number, headDim: number, pass: Pass, { shareOfPeak }: KernelPass, cluster: Cluster) {
  return (pairs * flopsPerPair(headDim, pass)) / (1e6 * cluster.device.peakTflops * shareOfPeak);
}

export const flopsPerPair = (headDim: number, pass: Pass): number => 4 * headDim * (pass === "forward" ? 1 : 2.5);

/** Microseconds of copies and sums that move so many bytes, each counted once for reading and once for writing. */
export function copyUs(bytes: number, { memory }: Hardware, { device }: Cluster): number {
  return bytes / (1e3 * (device.memoryBandwidthGBps ?? Number.POSITIVE_INFINITY) * memory.copyShare);
}

/** A call of a kernel: several tiles at once, of documents packed end to end. */
export interface KernelCall {
  readonly tiles: readonly Tile[];
  readonly heads: number;
  readonly headDim: number;
  readonly pass: Pass;
}

/** Rate of one call by itself, in useful TFLOP/s, as benchmarks of kernels state it: without what its callers do around it. */
export function kernelTflops(call: KernelCall, kernel: Kernel, cluster: Cluster, area: number): number {
  const { tiles, heads, headDim, pass } = call;
  const pairs = tiles.reduce((sum, tile) => sum + paidPairs(tile, pass, kernel[pass]), 0);
  const us = kernel[pass].launchUs + pairsUs(pairs * heads, headDim, pass, kernel[pass], cluster);
  return (area * heads * flopsPerPair(headDim, pass)) / (us * 1e6);
}

function paidForward({ qBegin, qEnd, kBegin, kEnd, mask }: Tile, kernel: KernelPass): number {
  const { tileRows, tileColumns, overheadTokens } = kernel;
  if (mask === "full") {
    return roundUp(qEnd - qBegin, tileRows) * (roundUp(kEnd - kBegin, tileColumns) + overheadTokens);
  }
  let pairs = 0;
  for (let row = qBegin; row < qEnd; row += tileRows) {
    const columns = Math.min(kEnd, row + tileRows, qEnd) - kBegin;
    pairs += tileRows * (roundUp(columns, tileColumns) + overheadTokens);
  }
  return pairs;
}

function paidBackward({ qBegin, qEnd, kBegin, kEnd, mask }: Tile, kernel: KernelPass): number {
  const { tileRows, tileColumns, overheadTokens } = kernel;
  if (mask === "full") {
    return roundUp(kEnd - kBegin, tileColumns) * (roundUp(qEnd - qBegin, tileRows) + overheadTokens);
  }
  let pairs = 0;
  for (let column = kBegin; column < kEnd; column += tileColumns) {
    pairs += tileColumns * (roundUp(qEnd - Math.max(qBegin, column), tileRows) + overheadTokens);
  }
  return pairs;
}

const roundUp = (count: number, multiple: number): number => Math.ceil(count / multiple) * multiple;
