import { type LoweredSchedule, opKinds, type Schedule, type Trace } from "@hsap/schedule";
import { type RankBreakdown, rankBreakdowns } from "./breakdown.ts";
import { type CollectiveInstance, type Transfers, transfersOf } from "./collectives.ts";
import { type Costs, costsOf } from "./costs.ts";
import { EventQueue } from "./event-queue.ts";
import { FairShare } from "./fair-share.ts";
import { type Floors, floorsOf } from "./floors.ts";
import { type Communication, type Hardware, hardwareOf, namedEntry } from "./hardware.ts";
import { laneWaitsOf } from "./lane-waits.ts";
import { LinkMap } from "./links.ts";
import { processOpUs, singleTransfers } from "./processes.ts";
import { type ProgramItems, programItemsOf } from "./program-items.ts";
import { simulateThreads } from "./threads/simulate-threads.ts";

export interface SimulationOptions {
  /** What is known of the device and its libraries; that of the cluster's device where left out. */
  readonly hardware?: Hardware | undefined;
  /** The attention kernel, by its name in the hardware file; its first where left out. */
  readonly kernel?: string | undefined;
  /** The communication library, likewise. */
  readonly library?: string | undefined;
  /** What each op waits for, if known: `op.waitFor` of a lowered schedule. Worked out from the data where left out. */
  readonly waits?: Int32Array | undefined;
  /** Device time of each op, in microseconds, instead of the kernel's: what a measured run took. */
  readonly measuredUs?: Float64Array | undefined;
  /** The lowered schedule, if known: threads of one machine hand over what it says may be handed over. */
  readonly lowered?: LoweredSchedule | undefined;
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
 * @throws InputError if the hardware has no such kernel or library, or nothing is known of the device.
 * @throws Error if the schedule's programs wait for each other for ever.
 */
export function simulate(schedule: Schedule, options: SimulationOptions = {}): Simulation {
  const hardware = options.hardware ?? hardwareOf(schedule.problem.cluster);
  const { processes, threads } = hardware;
  if (processes !== undefined && options.measuredUs === undefined && options.kernel === undefined) {
    const measuredUs = processOpUs(schedule, options.lowered, processes, threads);
    return simulate(singleTransfers(schedule), { ...options, hardware, measuredUs });
  }
  // Where computation was measured, or a kernel is named, every rank has a device of its own.
  if (threads !== undefined && options.measuredUs === undefined && options.kernel === undefined)
    return simulateThreads(schedule, threads, options.lowered);
  const { ranksPerNic } = namedEntry("library", hardware.libraries, options.library).entry;
  const prepared = prepareSchedule(schedule, ranksPerNic, options.waits);
  return simulatePrepared(prepared, { ...options, hardware });
}

/** The part of a simulation that does not depend on how fast anything is. */
export function prepareSchedule(schedule: Schedule, ranksPerNic = 1, waits = laneWaitsOf(schedule)): PreparedSchedule {
  const links = new LinkMap(schedule.problem.cluster, ranksPerNic);
  const items = programItemsOf(schedule, waits);
  return { schedule, items, transfers: transfersOf(schedule, items.groups, links), links };
}

/** As `simulate`, of a schedule that was prepared before. */
export function simulatePrepared(prepared: PreparedSchedule, options: SimulationOptions = {}): Simulation {
  const { schedule, items, transfers, links } = prepared;
  const hardware = options.hardware ?? hardwareOf(schedule.problem.cluster);
  const { name, entry: kernel } = namedEntry("kernel", hardware.kernels, options.kernel);
  const library = namedEntry("library", hardware.libraries, options.library).entry;
  const costs = replaced(costsOf(schedule, items, transfers, hardware, kernel, library), items, options.measuredUs);
  const run = steadyRun(prepared, costs, library);
  return {
    trace: run.trace(),
    perRank: rankBreakdowns(prepared, run),
    floors: floorsOf(schedule, kernel, run.carried, links.capacity, options.measuredUs),
    carriedBytesByLevel: carriedByLevel(run.carried, links),
    highestLinkUse: run.highestUse(),
    kernel: name,
  };
}

/**
 * Steps follow each other, so a host that needs less for a step than the device is always ahead of it and holds nothing up. One
 * that needs more issues each item only after those before, but begins with a step while the device still ends the one before:
 * the steps follow each other as fast as the host issues them.
 */
function steadyRun(prepared: PreparedSchedule, costs: Costs, library: Communication): Run {
  const ahead = new Run(prepared, costs, library, costs.hostUs);
  ahead.toEnd();
  if (costs.hostUs <= ahead.nowUs) return ahead;
  const alone = new Run(prepared, costs, library, 0);
  alone.toEnd();
  const behind = new Run(prepared, costs, library, Math.max(0, alone.nowUs - costs.hostUs));
  behind.toEnd();
  return behind;
}

function replaced(costs: Costs, { calls }: ProgramItems, measuredUs: Float64Array | undefined): Costs {
  if (measuredUs === undefined) return costs;
  const callUs = Float64Array.from(calls.opBegin, (begin, call) => {
    let sum = 0;
    for (let op = begin; op < calls.opEnd[call]; op++) sum += measuredUs[op];
    return sum;
  });
  return { ...costs, callUs, opUs: measuredUs };
}

/** What comes over the links of each level, in the direction in which more does: hierarchical collectives fan out inside a node. */
function carriedByLevel(carried: Float64Array, links: LinkMap): number[] {
  const [sent, received] = [0, 1].map((direction) => {
    const byLevel = links.cluster.levels.map(() => 0);
    for (let link = direction; link < carried.length; link += 2) byLevel[links.level[link]] += carried[link];
    return byLevel;
  });
  return sent.map((bytes, level) => Math.max(bytes, received[level]));
}

const events = { wakeCalls: 0, wakeGroups: 1, flowStart: 2, flowEnd: 3, callEnd: 4 } as const;
const send = opKinds.indexOf("send");
const sameMomentUs = 1e-9;

/** One run of the event loop. All times are microseconds; rows are those of calls, groups and ops. */
export class Run {
  readonly callBeginUs: Float64Array;
  readonly callEndUs: Float64Array;
  readonly groupBeginUs: Float64Array;
  readonly groupEndUs: Float64Array;
  /** When the last partner of a group was there, so that its bytes could move. */
  readonly groupMetUs: Float64Array;
  nowUs = 0;
  /** Bytes that have come over each link: what arrived, however well or badly the link was used for it. */
  readonly carried: Float64Array;
  readonly #queue = new EventQueue();
  readonly #flows: FairShare;
  /** What each flow carries: the op row of a send, or -1 - collective and the part of it. */
  readonly #cargo: number[] = [];
  readonly #part: number[] = [];
  /** The next call and group of each rank, and whether the one before still runs. */
  readonly #nextCall: Int32Array;
  readonly #nextGroup: Int32Array;
  readonly #callRuns: Uint8Array;
  readonly #groupRuns: Uint8Array;
  readonly #callVersion: Int32Array;
  readonly #callLeftUs: Float64Array;
  readonly #callSinceUs: Float64Array;
  /** Rows of each group that are still on their way; groups of each collective that have not begun. */
  readonly #pending: Int32Array;
  readonly #absent: Int32Array;

  constructor(
    private readonly prepared: PreparedSchedule,
    private readonly costs: Costs,
    private readonly library: Communication,
    /** How long before the device the host begins with the step. */
    private readonly hostLeadUs: number,
  ) {
    const { items, transfers, links } = prepared;
    const { ranks, calls, groups } = items;
    this.callBeginUs = new Float64Array(calls.opBegin.length);
    this.callEndUs = new Float64Array(calls.opBegin.length);
    this.groupBeginUs = new Float64Array(groups.opBegin.length).fill(-1);
    this.groupEndUs = new Float64Array(groups.opBegin.length);
    this.groupMetUs = new Float64Array(groups.opBegin.length);
    this.carried = new Float64Array(links.capacity.length);
    this.#flows = new FairShare(links.capacity, (flow, endUs, version) =>
      this.#queue.add(endUs, events.flowEnd, flow, version),
    );
    this.#nextCall = calls.begin.slice(0, ranks);
    this.#nextGroup = groups.begin.slice(0, ranks);
    this.#callRuns = new Uint8Array(ranks);
    this.#groupRuns = new Uint8Array(ranks);
    this.#callVersion = new Int32Array(ranks);
    this.#callLeftUs = new Float64Array(ranks);
    this.#callSinceUs = new Float64Array(ranks);
    this.#pending = Int32Array.from(groups.opBegin, (begin, group) =>
      transfers.collectiveOf[group] >= 0 ? 0 : groups.opEnd[group] - begin,
    );
    for (const { parts } of transfers.collectives)
      for (const part of parts) for (const group of part.groups) this.#pending[group]++;
    this.#absent = Int32Array.from(transfers.collectives, (instance) => instance.groups.length);
  }

  highestUse(): number {
    let highest = 0;
    this.#flows.highest.forEach((rate, link) => {
      highest = Math.max(highest, rate / this.prepared.links.capacity[link]);
    });
    return highest;
  }

  toEnd(): void {
    const { items } = this.prepared;
    const queue = this.#queue;
    for (let rank = 0; rank < items.ranks; rank++) {
      this.#startGroup(rank);
      this.#startCall(rank);
    }
    this.#flows.settle(0);
    while (queue.length > 0) {
      const now = queue.nextTime;
      // All that happens at one moment, but for rounding, is taken together: rates are worked out once for it.
      while (queue.nextTime <= now + sameMomentUs) {
        queue.take();
        this.#handle(queue.kind, queue.subject, queue.version, now);
      }
      this.#flows.settle(now);
    }
    this.#checkEnd();
  }

  trace(): Trace {
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
      if (group < 0) continue;
      beginUs[op] = this.groupBeginUs[group];
      endUs[op] = this.groupEndUs[group];
      busyUs[op] = this.groupEndUs[group] - this.groupMetUs[group];
    }
    return { origin: "simulated", beginUs, endUs, busyUs, durationUs: this.nowUs };
  }

  #handle(kind: number, subject: number, version: number, now: number): void {
    if (kind === events.callEnd) {
      if (this.#callVersion[subject] === version) this.#endCall(subject, now);
    } else if (kind === events.flowEnd) {
      if (this.#flows.end(subject, version)) this.#endFlow(subject, now);
    } else if (kind === events.flowStart) this.#startFlow(subject, now);
    else {
      this.nowUs = Math.max(this.nowUs, now);
      if (kind === events.wakeCalls) this.#startCall(subject, now);
      else this.#startGroup(subject, now);
    }
  }

  #startCall(rank: number, now = 0): void {
    const { calls, groups } = this.prepared.items;
    const call = this.#nextCall[rank];
    if (this.#callRuns[rank] === 1 || call === calls.begin[rank + 1]) return;
    if (this.#nextGroup[rank] - groups.begin[rank] < calls.waitFor[call]) return;
    const issuedUs = this.costs.callIssuedUs[call] - this.hostLeadUs;
    if (issuedUs > now) {
      this.#queue.add(issuedUs, events.wakeCalls, rank, 0);
      return;
    }
    this.#callRuns[rank] = 1;
    this.callBeginUs[call] = now;
    this.#callLeftUs[rank] = this.costs.callUs[call];
    this.#callSinceUs[rank] = now;
    this.#foretellCall(rank, now);
  }

  #foretellCall(rank: number, now: number): void {
    const slowdown = this.#groupRuns[rank] === 1 ? this.library.slowdown : 1;
    this.#callVersion[rank]++;
    this.#queue.add(now + this.#callLeftUs[rank] * slowdown, events.callEnd, rank, this.#callVersion[rank]);
  }

  #endCall(rank: number, now: number): void {
    this.callEndUs[this.#nextCall[rank]] = now;
    this.nowUs = now;
    this.#nextCall[rank]++;
    this.#callRuns[rank] = 0;
    this.#startGroup(rank, now);
    this.#startCall(rank, now);
  }

  #startGroup(rank: number, now = 0): void {
    const { calls, groups } = this.prepared.items;
    const group = this.#nextGroup[rank];
    if (this.#groupRuns[rank] === 1 || group === groups.begin[rank + 1]) return;
    if (this.#nextCall[rank] - calls.begin[rank] < groups.waitFor[group]) return;
    const issuedUs = this.costs.groupIssuedUs[group] - this.hostLeadUs;
    if (issuedUs > now) {
      this.#queue.add(issuedUs, events.wakeGroups, rank, 0);
      return;
    }
    this.#changeLane(rank, 1, now);
    this.groupBeginUs[group] = now;
    const collective = this.prepared.transfers.collectiveOf[group];
    if (collective >= 0) this.#joinCollective(collective, now);
    else this.#meetPartners(group, now);
  }

  /** Computation goes slower while the rank's communication lane is busy. */
  #changeLane(rank: number, runs: number, now: number): void {
    const { slowdown } = this.library;
    const wasSlow = this.#groupRuns[rank] === 1;
    this.#groupRuns[rank] = runs;
    if (this.#callRuns[rank] === 0 || slowdown === 1) return;
    this.#callLeftUs[rank] -= (now - this.#callSinceUs[rank]) / (wasSlow ? slowdown : 1);
    this.#callSinceUs[rank] = now;
    this.#foretellCall(rank, now);
  }

  #joinCollective(collective: number, now: number): void {
    if (--this.#absent[collective] > 0) return;
    for (const group of this.#instance(collective).groups) this.groupMetUs[group] = now;
    this.#queue.add(now + this.costs.collectives[collective].fixedUs, events.flowStart, -1 - collective, 0);
  }

  /** Starts each transfer of a group whose other side has begun too. */
  #meetPartners(group: number, now: number): void {
    const { items, transfers, schedule, links } = this.prepared;
    const { levels } = links.cluster;
    for (let row = items.groups.opBegin[group]; row < items.groups.opEnd[group]; row++) {
      const other = transfers.groupOf[transfers.partner[row]];
      if (this.groupBeginUs[other] < 0) continue;
      // Transfers of a group with itself do not exist, so the other side has begun before.
      this.groupMetUs[group] = Math.max(this.groupMetUs[group], now);
      this.groupMetUs[other] = Math.max(this.groupMetUs[other], now);
      const level = links.levelBetween(transfers.rankOfGroup[group], transfers.rankOfGroup[other]);
      const delay = this.library.launchUs + levels[level].latencyUs;
      const sending = schedule.ops.kind[row] === send ? row : transfers.partner[row];
      this.#queue.add(now + delay, events.flowStart, sending, 0);
    }
  }

  #startFlow(cargo: number, now: number): void {
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
    const path = links.path(from, to);
    const { levels } = links.cluster;
    const level = links.levelBetween(from, to);
    const { pairShare, mutualShare } = this.library;
    const side = Math.min(1, level);
    const share = pairShare[side] * (transfers.isMutual[cargo] === 1 ? (mutualShare?.[side] ?? 1) : 1);
    const cap = levels[level].bandwidthGBps * 1e3 * share;
    this.#cargo[this.#flows.start(now, transfers.bytes[cargo], path, undefined, cap)] = cargo;
  }

  #endFlow(flow: number, now: number): void {
    const { transfers, links } = this.prepared;
    const cargo = this.#cargo[flow];
    this.nowUs = now;
    if (cargo < 0) {
      const { load, groups } = this.#instance(-1 - cargo).parts[this.#part[flow]];
      for (const [link, bytes] of load) this.carried[link] += bytes;
      for (const group of groups) this.#arrive(group, now);
      return;
    }
    const [from, to] = [transfers.groupOf[cargo], transfers.groupOf[transfers.partner[cargo]]];
    for (const link of links.path(transfers.rankOfGroup[from], transfers.rankOfGroup[to]))
      this.carried[link] += transfers.bytes[cargo];
    this.#arrive(from, now);
    this.#arrive(to, now);
  }

  #arrive(group: number, now: number): void {
    if (--this.#pending[group] > 0) return;
    const rank = this.prepared.transfers.rankOfGroup[group];
    this.groupEndUs[group] = now;
    this.#changeLane(rank, 0, now);
    this.#nextGroup[rank]++;
    this.#startGroup(rank, now);
    this.#startCall(rank, now);
  }

  #instance(collective: number): CollectiveInstance {
    return this.prepared.transfers.collectives[collective];
  }

  #checkEnd(): void {
    const { ranks, calls, groups } = this.prepared.items;
    for (let rank = 0; rank < ranks; rank++) {
      if (this.#nextCall[rank] === calls.begin[rank + 1] && this.#nextGroup[rank] === groups.begin[rank + 1]) continue;
      throw new Error(`deadlock: rank ${rank} waits for ever (verify the schedule)`);
    }
  }
}
