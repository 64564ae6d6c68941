import { levelBetween } from "@hsap/cluster";
import { dataWaitsOf, opKinds } from "@hsap/schedule";
import { InputError } from "@hsap/workload";
import { rankBreakdowns } from "./breakdown.js";
import { transfersOf } from "./collectives.js";
import { costsOf } from "./costs.js";
import { EventQueue } from "./event-queue.js";
import { FairShare } from "./fair-share.js";
import { floorsOf } from "./floors.js";
import { defaultKernelOf, hardwareOf } from "./hardware.js";
import { LinkMap } from "./links.js";
import { programItemsOf } from "./program-items.js";
/**
 * Predicts when each op of a schedule runs: a discrete-event simulation of two lanes for each rank, whose transfers share the
 * links of the cluster fairly. The schedule should have passed the verifier.
 *
 * @throws InputError if the hardware has no such kernel, or nothing is known of the device.
 * @throws Error if the schedule's programs wait for each other for ever.
 */
export function simulate(schedule, options = {}) {
    const hardware = options.hardware ?? hardwareOf(schedule.problem.cluster);
    const prepared = prepareSchedule(schedule, hardware.communication.ranksPerNic, options.waits);
    return simulatePrepared(prepared, { ...options, hardware });
}
/** The part of a simulation that does not depend on how fast anything is. */
export function prepareSchedule(schedule, ranksPerNic = 1, waits = dataWaitsOf(schedule)) {
    const links = new LinkMap(schedule.problem.cluster, ranksPerNic);
    const items = programItemsOf(schedule, waits);
    return { schedule, items, transfers: transfersOf(schedule, items.groups, links), links };
}
/** As `simulate`, of a schedule that was prepared before. */
export function simulatePrepared(prepared, options = {}) {
    const { schedule, items, transfers, links } = prepared;
    const hardware = options.hardware ?? hardwareOf(schedule.problem.cluster);
    const name = options.kernel ?? defaultKernelOf(hardware);
    const kernel = hardware.kernels[name];
    if (kernel === undefined) {
        throw new InputError(`unknown kernel: ${name} (known: ${Object.keys(hardware.kernels).join(", ")})`);
    }
    const costs = replaced(costsOf(schedule, items, transfers, hardware, kernel), items, options.measuredUs);
    const run = new Run(prepared, costs, hardware);
    run.toEnd();
    return {
        trace: run.trace(),
        perRank: rankBreakdowns(prepared, run),
        floors: floorsOf(schedule, kernel, run.carried, links.capacity, options.measuredUs),
        carriedBytesByLevel: carriedByLevel(run.carried, links),
        highestLinkUse: run.highestUse(),
        kernel: name,
    };
}
function replaced(costs, { calls }, measuredUs) {
    if (measuredUs === undefined)
        return costs;
    const callUs = Float64Array.from(calls.opBegin, (begin, call) => {
        let sum = 0;
        for (let op = begin; op < calls.opEnd[call]; op++)
            sum += measuredUs[op];
        return sum;
    });
    return { ...costs, callUs, opUs: measuredUs };
}
/** A byte of a flow is counted once, on the link that it leaves by. */
function carriedByLevel(carried, links) {
    const byLevel = links.cluster.levels.map(() => 0);
    for (let link = 0; link < carried.length; link += 2)
        byLevel[links.level[link]] += carried[link];
    return byLevel;
}
const events = { wakeCalls: 0, wakeGroups: 1, flowStart: 2, flowEnd: 3, callEnd: 4 };
const send = opKinds.indexOf("send");
/** One run of the event loop. All times are microseconds; rows are those of calls, groups and ops. */
export class Run {
    prepared;
    costs;
    hardware;
    callBeginUs;
    callEndUs;
    groupBeginUs;
    groupEndUs;
    /** When the last partner of a group was there, so that its bytes could move. */
    groupMetUs;
    nowUs = 0;
    #queue = new EventQueue();
    #flows;
    /** What each flow carries: the op row of a send, or -1 - collective and the part of it. */
    #cargo = [];
    #part = [];
    /** The next call and group of each rank, and whether the one before still runs. */
    #nextCall;
    #nextGroup;
    #callRuns;
    #groupRuns;
    #callVersion;
    #callLeftUs;
    #callSinceUs;
    /** Rows of each group that are still on their way; groups of each collective that have not begun. */
    #pending;
    #absent;
    constructor(prepared, costs, hardware) {
        this.prepared = prepared;
        this.costs = costs;
        this.hardware = hardware;
        const { items, transfers, links } = prepared;
        const { ranks, calls, groups } = items;
        this.callBeginUs = new Float64Array(calls.opBegin.length);
        this.callEndUs = new Float64Array(calls.opBegin.length);
        this.groupBeginUs = new Float64Array(groups.opBegin.length).fill(-1);
        this.groupEndUs = new Float64Array(groups.opBegin.length);
        this.groupMetUs = new Float64Array(groups.opBegin.length);
        this.#flows = new FairShare(links.capacity, (flow, endUs, version) => this.#queue.add(endUs, events.flowEnd, flow, version));
        this.#nextCall = calls.begin.slice(0, ranks);
        this.#nextGroup = groups.begin.slice(0, ranks);
        this.#callRuns = new Uint8Array(ranks);
        this.#groupRuns = new Uint8Array(ranks);
        this.#callVersion = new Int32Array(ranks);
        this.#callLeftUs = new Float64Array(ranks);
        this.#callSinceUs = new Float64Array(ranks);
        this.#pending = Int32Array.from(groups.opBegin, (begin, group) => transfers.collectiveOf[group] >= 0 ? 0 : groups.opEnd[group] - begin);
        for (const { parts } of transfers.collectives)
            for (const part of parts)
                for (const group of part.groups)
                    this.#pending[group]++;
        this.#absent = Int32Array.from(transfers.collectives, (instance) => instance.groups.length);
    }
    get carried() {
        return this.#flows.carried;
    }
    highestUse() {
        let highest = 0;
        this.#flows.highest.forEach((rate, link) => {
            highest = Math.max(highest, rate / this.prepared.links.capacity[link]);
        });
        return highest;
    }
    toEnd() {
        const { items } = this.prepared;
        const queue = this.#queue;
        for (let rank = 0; rank < items.ranks; rank++) {
            this.#startGroup(rank);
            this.#startCall(rank);
        }
        this.#flows.settle(0);
        while (queue.length > 0) {
            const now = queue.nextTime;
            // All that happens at one moment is taken together, so that rates are worked out once for it.
            while (queue.length > 0 && queue.nextTime <= now) {
                queue.take();
                this.#handle(queue.kind, queue.subject, queue.version, now);
            }
            this.#flows.settle(now);
        }
        this.#checkEnd();
    }
    trace() {
        const { schedule, items, transfers } = this.prepared;
        const rows = schedule.ops.kind.length;
        const beginUs = new Float64Array(rows);
        const endUs = new Float64Array(rows);
        const busyUs = new Float64Array(rows);
        for (let call = 0; call < this.callBeginUs.length; call++) {
            const stretch = (this.callEndUs[call] - this.callBeginUs[call]) / Math.max(1e-12, this.costs.callUs[call]);
            let at = this.callBeginUs[call];
            for (let op = items.calls.opBegin[call]; op < items.calls.opEnd[call]; op++) {
                beginUs[op] = at;
                at += this.costs.opUs[op] * stretch;
                endUs[op] = at;
                busyUs[op] = endUs[op] - beginUs[op];
            }
        }
        for (let op = 0; op < rows; op++) {
            const group = transfers.groupOf[op];
            if (group < 0)
                continue;
            beginUs[op] = this.groupBeginUs[group];
            endUs[op] = this.groupEndUs[group];
            busyUs[op] = this.groupEndUs[group] - this.groupMetUs[group];
        }
        return { origin: "simulated", beginUs, endUs, busyUs, durationUs: this.nowUs };
    }
    #handle(kind, subject, version, now) {
        if (kind === events.callEnd) {
            if (this.#callVersion[subject] === version)
                this.#endCall(subject, now);
        }
        else if (kind === events.flowEnd) {
            if (this.#flows.end(subject, version))
                this.#endFlow(subject, now);
        }
        else if (kind === events.flowStart)
            this.#startFlow(subject, now);
        else {
            this.nowUs = Math.max(this.nowUs, now);
            if (kind === events.wakeCalls)
                this.#startCall(subject, now);
            else
                this.#startGroup(subject, now);
        }
    }
    #startCall(rank, now = 0) {
        const { calls, groups } = this.prepared.items;
        const call = this.#nextCall[rank];
        if (this.#callRuns[rank] === 1 || call === calls.begin[rank + 1])
            return;
        if (this.#nextGroup[rank] - groups.begin[rank] < calls.waitFor[call])
            return;
        if (this.costs.callIssuedUs[call] > now) {
            this.#queue.add(this.costs.callIssuedUs[call], events.wakeCalls, rank, 0);
            return;
        }
        this.#callRuns[rank] = 1;
        this.callBeginUs[call] = now;
        this.#callLeftUs[rank] = this.costs.callUs[call];
        this.#callSinceUs[rank] = now;
        this.#foretellCall(rank, now);
    }
    #foretellCall(rank, now) {
        const slowdown = this.#groupRuns[rank] === 1 ? this.hardware.communication.slowdown : 1;
        this.#callVersion[rank]++;
        this.#queue.add(now + this.#callLeftUs[rank] * slowdown, events.callEnd, rank, this.#callVersion[rank]);
    }
    #endCall(rank, now) {
        this.callEndUs[this.#nextCall[rank]] = now;
        this.nowUs = now;
        this.#nextCall[rank]++;
        this.#callRuns[rank] = 0;
        this.#startGroup(rank, now);
        this.#startCall(rank, now);
    }
    #startGroup(rank, now = 0) {
        const { calls, groups } = this.prepared.items;
        const group = this.#nextGroup[rank];
        if (this.#groupRuns[rank] === 1 || group === groups.begin[rank + 1])
            return;
        if (this.#nextCall[rank] - calls.begin[rank] < groups.waitFor[group])
            return;
        if (this.costs.groupIssuedUs[group] > now) {
            this.#queue.add(this.costs.groupIssuedUs[group], events.wakeGroups, rank, 0);
            return;
        }
        this.#changeLane(rank, 1, now);
        this.groupBeginUs[group] = now;
        const collective = this.prepared.transfers.collectiveOf[group];
        if (collective >= 0)
            this.#joinCollective(collective, now);
        else
            this.#meetPartners(group, now);
    }
    /** Computation goes slower while the rank's communication lane is busy. */
    #changeLane(rank, runs, now) {
        const { slowdown } = this.hardware.communication;
        const wasSlow = this.#groupRuns[rank] === 1;
        this.#groupRuns[rank] = runs;
        if (this.#callRuns[rank] === 0 || slowdown === 1)
            return;
        this.#callLeftUs[rank] -= (now - this.#callSinceUs[rank]) / (wasSlow ? slowdown : 1);
        this.#callSinceUs[rank] = now;
        this.#foretellCall(rank, now);
    }
    #joinCollective(collective, now) {
        if (--this.#absent[collective] > 0)
            return;
        for (const group of this.#instance(collective).groups)
            this.groupMetUs[group] = now;
        this.#queue.add(now + this.costs.collectives[collective].fixedUs, events.flowStart, -1 - collective, 0);
    }
    /** Starts each transfer of a group whose other side has begun too. */
    #meetPartners(group, now) {
        const { items, transfers, schedule } = this.prepared;
        const { cluster } = schedule.problem;
        for (let row = items.groups.opBegin[group]; row < items.groups.opEnd[group]; row++) {
            const other = transfers.groupOf[transfers.partner[row]];
            if (this.groupBeginUs[other] < 0)
                continue;
            // Transfers of a group with itself do not exist, so the other side has begun before.
            this.groupMetUs[group] = Math.max(this.groupMetUs[group], now);
            this.groupMetUs[other] = Math.max(this.groupMetUs[other], now);
            const level = levelBetween(cluster, transfers.rankOfGroup[group], transfers.rankOfGroup[other]);
            const delay = this.hardware.communication.launchUs + cluster.levels[level].latencyUs;
            const sending = schedule.ops.kind[row] === send ? row : transfers.partner[row];
            this.#queue.add(now + delay, events.flowStart, sending, 0);
        }
    }
    #startFlow(cargo, now) {
        const { transfers, links } = this.prepared;
        this.nowUs = now;
        if (cargo < 0) {
            this.costs.collectives[-1 - cargo].parts.forEach(({ bytes, links: used, weights }, part) => {
                const flow = this.#flows.start(now, bytes, used, weights);
                this.#cargo[flow] = cargo;
                this.#part[flow] = part;
            });
            return;
        }
        const from = transfers.rankOfGroup[transfers.groupOf[cargo]];
        const to = transfers.rankOfGroup[transfers.groupOf[transfers.partner[cargo]]];
        this.#cargo[this.#flows.start(now, transfers.bytes[cargo], links.path(from, to))] = cargo;
    }
    #endFlow(flow, now) {
        const { transfers } = this.prepared;
        const cargo = this.#cargo[flow];
        this.nowUs = now;
        if (cargo < 0) {
            for (const group of this.#instance(-1 - cargo).parts[this.#part[flow]].groups)
                this.#arrive(group, now);
        }
        else {
            this.#arrive(transfers.groupOf[cargo], now);
            this.#arrive(transfers.groupOf[transfers.partner[cargo]], now);
        }
    }
    #arrive(group, now) {
        if (--this.#pending[group] > 0)
            return;
        const rank = this.prepared.transfers.rankOfGroup[group];
        this.groupEndUs[group] = now;
        this.#changeLane(rank, 0, now);
        this.#nextGroup[rank]++;
        this.#startGroup(rank, now);
        this.#startCall(rank, now);
    }
    #instance(collective) {
        return this.prepared.transfers.collectives[collective];
    }
    #checkEnd() {
        const { ranks, calls, groups } = this.prepared.items;
        for (let rank = 0; rank < ranks; rank++) {
            if (this.#nextCall[rank] === calls.begin[rank + 1] && this.#nextGroup[rank] === groups.begin[rank + 1])
                continue;
            throw new Error(`deadlock: rank ${rank} waits for ever (verify the schedule)`);
        }
    }
}
//# sourceMappingURL=simulate.js.map