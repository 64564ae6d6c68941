import { opKinds } from "@hsap/schedule";
import { copyUs, pairsUs, paidPairs } from "./kernel-time.js";
import { causalMask, isTileOp } from "./program-items.js";
const attend = opKinds.indexOf("attend");
/** Puts a price on every item of a schedule; `kernel` computes the attention. */
export function costsOf(schedule, items, transfers, hardware, kernel) {
    const opUs = new Float64Array(schedule.ops.kind.length);
    const callUs = callCosts(schedule, items, hardware, kernel, opUs);
    const { callIssuedUs, groupIssuedUs } = hostTimes(schedule, items, hardware, kernel);
    const collectives = transfers.collectives.map((instance) => collectiveCost(instance, schedule, hardware));
    return { callUs, opUs, callIssuedUs, groupIssuedUs, collectives };
}
function callCosts(schedule, { calls }, hardware, kernel, opUs) {
    const { problem, ops } = schedule;
    const { cluster, pass } = problem;
    const own = kernel[pass];
    const tilesUs = tileTimes(schedule, kernel);
    const callUs = new Float64Array(calls.opBegin.length);
    for (let call = 0; call < callUs.length; call++) {
        let fixed = hardware.memory.launchUs;
        let sum = 0;
        for (let op = calls.opBegin[call]; op < calls.opEnd[call]; op++)
            sum += tilesUs[op];
        if (isTileOp(ops.kind[calls.opBegin[call]])) {
            const moved = own.queryPasses * calls.queryBytes[call] +
                own.keyPasses * calls.keyBytes[call] +
                own.accumulatePasses * calls.accumulatedBytes[call];
            const length = pass === "forward" ? calls.longestQueries[call] : calls.longestKeys[call];
            const blocks = calls.sequences[call] * Math.ceil(length / (pass === "forward" ? own.tileRows : own.tileColumns));
            // Blocks with work are counted too: beside as many empty ones they are few.
            fixed = own.launchUs + blocks * own.emptyBlockUs + copyUs(moved, hardware, cluster);
        }
        else
            fixed += copyUs(calls.movedBytes[call], hardware, cluster);
        callUs[call] = fixed + sum;
        const count = calls.opEnd[call] - calls.opBegin[call];
        for (let op = calls.opBegin[call]; op < calls.opEnd[call]; op++)
            opUs[op] = sum > 0 ? tilesUs[op] * (1 + fixed / sum) : callUs[call] / count;
    }
    return callUs;
}
/** Device time of every tile, without what is paid once a call; 0 for other ops. */
function tileTimes({ problem, ops, blocks, tensors }, kernel) {
    const { shape, pass, cluster } = problem;
    const us = new Float64Array(ops.kind.length);
    const tile = { qBegin: 0, qEnd: 0, kBegin: 0, kEnd: 0, mask: "full" };
    // Neighbouring tiles are often alike but for where they lie.
    let [lastKey, lastPairs] = ["", 0];
    for (let op = 0; op < us.length; op++) {
        if (!isTileOp(ops.kind[op]))
            continue;
        if (ops.kind[op] !== attend) {
            us[op] = unfusedUs({ problem, ops, blocks, tensors }, op, kernel);
            continue;
        }
        const q = ops.operands[ops.operandBegin[op]];
        const k = ops.operands[ops.operandBegin[op] + 1];
        tile.qBegin = blocks.tokenBegin[q];
        tile.qEnd = blocks.tokenEnd[q];
        tile.kBegin = blocks.tokenBegin[k];
        tile.kEnd = blocks.tokenEnd[k];
        tile.mask = ops.attribute[op] === causalMask ? "causal" : "full";
        const key = `${tile.qEnd - tile.qBegin},${tile.kBegin - tile.qBegin},${tile.kEnd - tile.qBegin},${tile.mask}`;
        if (key !== lastKey)
            [lastKey, lastPairs] = [key, paidPairs(tile, pass, kernel[pass])];
        const heads = blocks.headEnd[q] - blocks.headBegin[q];
        us[op] = pairsUs(lastPairs * heads, shape.headDim, pass, kernel[pass], cluster);
    }
    return us;
}
/** Matrix products of unfused attention: one of the two products of a tile for `score` and `weigh`, all of its rectangle. */
function unfusedUs({ problem, ops, blocks }, op, kernel) {
    const { shape, pass, cluster } = problem;
    const name = opKinds[ops.kind[op]];
    const operand = (i) => ops.operands[ops.operandBegin[op] + i];
    const [rows, keys] = name === "score" ? [operand(0), operand(1)] : name === "weigh" ? [operand(0), operand(1)] : [operand(1), operand(2)];
    const tokens = (id) => blocks.tokenEnd[id] - blocks.tokenBegin[id];
    const heads = blocks.headEnd[rows] - blocks.headBegin[rows];
    // Products of queries by keys: one forward for score and weigh; backward two each for weigh and unscore.
    const products = pass === "backward" && name !== "score" ? 2 : 1;
    const pairs = tokens(rows) * tokens(keys) * heads;
    return (products * pairsUs(pairs, shape.headDim, "forward", kernel.forward, cluster)) / 2;
}
/** The host issues items one after another and runs ahead of the device. */
function hostTimes({ problem, ops }, { ranks, calls, groups }, hardware, kernel) {
    const callIssuedUs = new Float64Array(calls.opBegin.length);
    const groupIssuedUs = new Float64Array(groups.opBegin.length);
    const callHostUs = kernel[problem.pass].hostUs;
    for (let rank = 0; rank < ranks; rank++) {
        let now = 0;
        let call = calls.begin[rank];
        let group = groups.begin[rank];
        while (call < calls.begin[rank + 1] || group < groups.begin[rank + 1]) {
            const isCall = group === groups.begin[rank + 1] || (call < calls.begin[rank + 1] && calls.issue[call] < groups.issue[group]);
            if (isCall) {
                now += isTileOp(ops.kind[calls.opBegin[call]]) ? callHostUs : hardware.memory.launchUs;
                callIssuedUs[call++] = now;
            }
            else {
                now += hardware.communication.hostUs;
                groupIssuedUs[group++] = now;
            }
        }
    }
    return { callIssuedUs, groupIssuedUs };
}
function collectiveCost(instance, { problem }, hardware) {
    const { cluster } = problem;
    const { communication } = hardware;
    const kind = communication.collectives[instance.kind];
    const lineRate = kind?.lineRate[instance.level === 0 ? 0 : 1] ?? 1;
    const attained = kind === undefined ? 1 : Math.min(1, lineRate * shareOf(kind, instance.nodes, instance.bufferBytes));
    const parts = instance.parts.map(({ load }) => {
        const links = [...load.keys()];
        // Links inside of the outermost level in use keep the bandwidth that the cluster states.
        const needs = links.map((link) => (load.get(link) ?? 0) / (levelOf(link, cluster) === instance.level ? attained : 1));
        const bytes = Math.max(1e-9, ...needs);
        return { bytes, links, weights: needs.map((need) => need / bytes) };
    });
    const hops = kind?.algorithm === "pairs" ? 1 : instance.groups.length - 1;
    const betweenNodes = kind?.algorithm === "pairs" ? (instance.nodes > 1 ? 1 : 0) : instance.nodes - 1;
    const stepsUs = (hops - betweenNodes) * communication.hopUs[0] + betweenNodes * communication.hopUs[1] + (kind?.baseUs ?? 0);
    const packUs = copyUs((kind?.packPasses ?? 0) * instance.bufferBytes, hardware, cluster);
    return { fixedUs: communication.launchUs + stepsUs + packUs, parts };
}
const levelOf = (link, { ranks }) => Math.floor(link / (2 * ranks));
/** Share of the line rate, interpolated in the logarithm of the size; the number of nodes nearest in logarithm counts. */
function shareOf({ shares }, nodes, bytes) {
    const distance = (share) => Math.abs(Math.log(share.nodes / nodes));
    const { points } = shares.reduce((best, share) => (distance(share) < distance(best) ? share : best));
    if (bytes <= points[0][0])
        return points[0][1];
    for (let i = 1; i < points.length; i++) {
        const [[fromBytes, from], [toBytes, to]] = [points[i - 1], points[i]];
        if (bytes <= toBytes)
            return from + ((to - from) * Math.log(bytes / fromBytes)) / Math.log(toBytes / fromBytes);
    }
    return points[points.length - 1][1];
}
//# sourceMappingURL=costs.js.map