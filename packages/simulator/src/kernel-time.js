/**
 * (query, key) pairs of one head that a kernel pays for: thread blocks take whole squares of `tileRows` x `tileColumns`, so
 * a block computes what is masked or missing inside of its last square too, and each has an overhead. Forward, a block keeps
 * `tileRows` queries and walks over keys; backward, it keeps `tileColumns` keys and walks over queries.
 */
export function paidPairs(tile, pass, kernel) {
    return pass === "forward" ? paidForward(tile, kernel) : paidBackward(tile, kernel);
}
/** Microseconds in which a device computes that many pairs of one head: 4 headDim operations each, backward 2.5 times that. */
export function pairsUs(pairs, headDim, pass, { shareOfPeak }, cluster) {
    return (pairs * flopsPerPair(headDim, pass)) / (1e6 * cluster.device.peakTflops * shareOfPeak);
}
export const flopsPerPair = (headDim, pass) => 4 * headDim * (pass === "forward" ? 1 : 2.5);
/** Microseconds of copies and sums that move so many bytes, each counted once for reading and once for writing. */
export function copyUs(bytes, { memory }, { device }) {
    return bytes / (1e3 * (device.memoryBandwidthGBps ?? Number.POSITIVE_INFINITY) * memory.copyShare);
}
/** Rate of one call by itself, in useful TFLOP/s, as benchmarks of kernels state it: without what its callers do around it. */
export function kernelTflops(call, kernel, cluster, area) {
    const { tiles, heads, headDim, pass } = call;
    const pairs = tiles.reduce((sum, tile) => sum + paidPairs(tile, pass, kernel[pass]), 0);
    const us = kernel[pass].launchUs + pairsUs(pairs * heads, headDim, pass, kernel[pass], cluster);
    return (area * heads * flopsPerPair(headDim, pass)) / (us * 1e6);
}
function paidForward({ qBegin, qEnd, kBegin, kEnd, mask }, kernel) {
    const { tileRows, tileColumns, overheadTokens } = kernel;
    if (mask === "full") {
        return (roundUp(qEnd - qBegin, tileRows) * (roundUp(kEnd - kBegin, tileColumns) + overheadTokens));
    }
    let pairs = 0;
    for (let row = qBegin; row < qEnd; row += tileRows) {
        const columns = Math.min(kEnd, row + tileRows, qEnd) - kBegin;
        pairs += tileRows * (roundUp(columns, tileColumns) + overheadTokens);
    }
    return pairs;
}
function paidBackward({ qBegin, qEnd, kBegin, kEnd, mask }, kernel) {
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
const roundUp = (count, multiple) => Math.ceil(count / multiple) * multiple;
//# sourceMappingURL=kernel-time.js.map