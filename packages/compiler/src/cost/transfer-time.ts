import { type Cluster, type DeviceTiming, deviceTiming, ranksPerNode, spansOf } from "@hsap/cluster";
import { bytesPerElement, type Problem } from "@hsap/schedule";
import { type Hierarchy, rankOf } from "../hierarchy.ts";
import type { Part } from "../plan.ts";
import { cargoes, type Messages } from "../route/message.ts";
import type { Traffic } from "../route/traffic.ts";
import type { Sharding } from "../shard/shard.ts";

/**
 * Microseconds of an all-to-all in which each of `ulysses` ranks sends or receives at most `bytes`: its launch, one step, packing
 * and unpacking, and the bytes at the share of the line rate that buffers of that size reach.
 */
export function allToAllUs(cluster: Cluster, ulysses: number, bytes: number): number {
  if (ulysses === 1 || bytes === 0) return 0;
  const { device, levels } = cluster;
  const timing = deviceTiming(device);
  const { baseUs, hopUs, packPasses, lineRate, shares } = timing.allToAll;
  const level = ulysses > ranksPerNode(cluster) ? levels.length - 1 : 0;
  const outside = Math.min(1, level);
  const attained = Math.min(1, lineRate[outside] * shareAt(shares, ulysses / ranksPerNode(cluster), bytes));
  const copyBytesPerUs = 1e3 * (device.memoryBandwidthGBps ?? Number.POSITIVE_INFINITY) * timing.copyShare;
  const fixedUs = timing.transferLaunchUs + baseUs + hopUs[outside] + (packPasses * bytes) / copyBytesPerUs;
  // Of what goes to all ranks alike, that to ranks of the same node stays inside of it.
  const crossing = outside === 0 ? 1 : (ulysses - ranksPerNode(cluster)) / (ulysses - 1);
  return fixedUs + (crossing * bytes) / (1e3 * levels[level].bandwidthGBps * attained);
}

type Shares = DeviceTiming["allToAll"]["shares"];

/** Share of the line rate that buffers of that size reach over so many nodes. */
function shareAt(shares: Shares, nodes: number, bytes: number): number {
  const distance = (of: Shares[number]) => Math.abs(Math.log(of.nodes / Math.max(1, nodes)));
  const { points } = shares.reduce((best, of) => (distance(of) < distance(best) ? of : best));
  if (bytes <= points[0][0]) return points[0][1];
  for (let i = 1; i < points.length; i++) {
    const [[fromBytes, from], [toBytes, to]] = [points[i - 1], points[i]];
    if (bytes <= toBytes) return from + ((to - from) * Math.log(bytes / fromBytes)) / Math.log(toBytes / fromBytes);
  }
  return points[points.length - 1][1];
}

/** Transfers between two ranks of a level. */
class PairClock {
  readonly #fixedUs: number;
  readonly #bytesPerUs: number;
  /** Share of the link that a pair reaches where it sends one way only, and where both send to each other at once. */
  readonly #share: number;
  readonly #mutualShare: number;

  constructor(cluster: Cluster, level: number) {
    const { transferLaunchUs, mutualShare } = deviceTiming(cluster.device);
    const { latencyUs, bandwidthGBps } = cluster.levels[level];
    this.#fixedUs = transferLaunchUs + latencyUs;
    this.#bytesPerUs = 1e3 * bandwidthGBps;
    this.#share = pairShareOf(cluster, level);
    this.#mutualShare = this.#share * mutualShare[Math.min(1, level)];
  }

  /** Microseconds until `bytes` are there, beside others: `ofEnds` is what the busier end carries until then. */
  transferUs(bytes: number, ofEnds: number, isMutual: boolean): number {
    const alone = bytes / (isMutual ? this.#mutualShare : this.#share);
    return this.#fixedUs + Math.max(ofEnds, alone) / this.#bytesPerUs;
  }
}

/** What one pair of ranks reaches of a level's bandwidth for each rank: above 1 where ranks share a link that others leave to it. */
export function pairShareOf({ device, levels }: Cluster, level: number): number {
  const { bandwidthGBps, pairGBps } = levels[level];
  return pairGBps === undefined ? deviceTiming(device).pairShare[Math.min(1, level)] : pairGBps / bandwidthGBps;
}

/** The all-to-alls in which the lanes of units gather and scatter heads. */
export class HeadClock {
  readonly #cluster: Cluster;
  readonly #ulysses: number;
  /** Bytes that a lane sends or receives for each token of its unit. */
  readonly #gatheredBytes: number;
  readonly #scatteredBytes: number;

  constructor({ shape, cluster, pass }: Problem, ulysses: number) {
    this.#cluster = cluster;
    this.#ulysses = ulysses;
    const headBytes = shape.headDim * bytesPerElement[shape.dtype];
    // Lanes that share a kv head each get it.
    const kvHeads = 2 * Math.max(shape.kvHeads, ulysses);
    const perHead = (headBytes * (ulysses - 1)) / ulysses / ulysses;
    const [gathered, scattered] =
      pass === "forward" ? [shape.heads + kvHeads, shape.heads] : [shape.heads, shape.heads + kvHeads];
    this.#gatheredBytes = gathered * perHead;
    this.#scatteredBytes = scattered * perHead;
  }

  /** Bytes that all lanes of a unit of so many tokens receive, in both directions together. */
  tradedBytes(tokens: number): number {
    return this.#ulysses * (this.#gatheredBytes + this.#scatteredBytes) * tokens;
  }

  /** Microseconds of a unit of so many tokens. */
  gatherUs(tokens: number): number {
    return allToAllUs(this.#cluster, this.#ulysses, this.#gatheredBytes * tokens);
  }

  scatterUs(tokens: number): number {
    return allToAllUs(this.#cluster, this.#ulysses, this.#scatteredBytes * tokens);
  }
}

/** Microseconds in which the units of a part gather and scatter heads; 0 where none are split. */
export function allToAllTimes(problem: Problem, { hierarchy, sharding }: Pick<Part, "hierarchy" | "sharding">) {
  const { ulysses, units } = hierarchy;
  const clock = new HeadClock(problem, ulysses);
  const gatherUs = new Float64Array(units);
  const scatterUs = new Float64Array(units);
  for (let unit = 0; unit < units && ulysses > 1; unit++) {
    const tokens = tokensOfUnit(sharding, unit);
    gatherUs[unit] = clock.gatherUs(tokens);
    scatterUs[unit] = clock.scatterUs(tokens);
  }
  return { gatherUs, scatterUs };
}

/** Bytes that all ranks receive of a part, in messages and as they trade heads. */
export function receivedBytesOf(
  problem: Problem,
  { hierarchy, sharding }: Part,
  { receivedBytes }: RoundTimes,
): number {
  const { ulysses, units } = hierarchy;
  const clock = new HeadClock(problem, ulysses);
  let bytes = ulysses * receivedBytes.reduce((sum, of) => sum + of, 0);
  for (let unit = 0; unit < units && ulysses > 1; unit++) bytes += clock.tradedBytes(tokensOfUnit(sharding, unit));
  return bytes;
}

export function tokensOfUnit({ pieceBegin, pieces }: Sharding, unit: number): number {
  let tokens = 0;
  for (let row = pieceBegin[unit]; row < pieceBegin[unit + 1]; row++) tokens += pieces.end[row] - pieces.begin[row];
  return tokens;
}

/** Bytes of a token's key and value, or of their gradients, that one lane holds. */
export const laneTokenBytes = ({ shape }: Problem, { ulysses }: Pick<Hierarchy, "ulysses">): number =>
  2 * Math.max(1, shape.kvHeads / ulysses) * shape.headDim * bytesPerElement[shape.dtype];

/**
 * Bytes that one lane carries of a token, by cargo: a query travels as q, or with do, lse and delta in a backward pass; its partial
 * result as o and lse, or as dq. lse and delta are fp32 whatever the dtype.
 */
export function cargoTokenBytes(problem: Problem, hierarchy: Pick<Hierarchy, "ulysses">): Float64Array {
  const { shape, pass } = problem;
  const heads = shape.heads / hierarchy.ulysses;
  const rowBytes = shape.headDim * bytesPerElement[shape.dtype];
  const bytes = new Float64Array(Object.keys(cargoes).length).fill(laneTokenBytes(problem, hierarchy));
  bytes[cargoes.queries] = heads * (pass === "forward" ? rowBytes : 2 * rowBytes + 2 * 4);
  bytes[cargoes.partials] = heads * (pass === "forward" ? rowBytes + 4 : rowBytes);
  return bytes;
}

/** Microseconds of rounds of messages, each by itself. */
export interface RoundTimes {
  /** Of the slowest unit, by round. */
  readonly us: Float64Array;
  /** Of each message, beside the others of its round. */
  readonly messageUs: Float64Array;
  /** What each unit's lanes receive, each of them, in bytes: unit u in round r at r * units + u. */
  readonly receivedBytes: Float64Array;
  /** The largest message among these, likewise. */
  readonly largestBytes: Float64Array;
  /** Messages of round r are rows roundBegin[r] up to, not including, roundBegin[r + 1]. */
  readonly roundBegin: Int32Array;
}

/**
 * What goes between one pair of ranks goes at a share of the link's bandwidth at most; what several messages of one end need of
 * it they share fairly, so that a small one is there before the large ones. Units whose ranks share a link are one end.
 */
export function roundTimes(problem: Problem, hierarchy: Hierarchy, messages: Messages, traffic: Traffic): RoundTimes {
  const { cluster } = problem;
  const { rounds, round, from, to, itemBegin, items } = messages;
  const levels = cluster.levels.length;
  const { units } = hierarchy;
  const tokenBytes = cargoTokenBytes(problem, hierarchy);
  const us = new Float64Array(rounds);
  const messageUs = new Float64Array(round.length);
  const receivedBytes = new Float64Array(rounds * units);
  const largestBytes = new Float64Array(rounds * units);
  const roundBegin = new Int32Array(rounds + 1);
  const levelOf = new Uint8Array(round.length);
  const isMutual = mutualMessages(messages, traffic);
  const sharing = cluster.levels.map(({ ranksPerLink = 1 }) =>
    Math.max(1, Math.floor(ranksPerLink / hierarchy.ulysses)),
  );
  const endOf = (unit: number, level: number) => Math.floor(unit / sharing[level]) * levels + level;
  const clocks = cluster.levels.map((_, level) => new PairClock(cluster, level));
  const spans = spansOf(cluster.levels);
  const sent = new Ends(units * levels);
  const received = new Ends(units * levels);
  let first = 0;
  for (let at = 0; at < rounds; at++) {
    roundBegin[at] = first;
    sent.clear();
    received.clear();
    let past = first;
    for (; past < round.length && round[past] === at; past++) {
      let bytes = 0;
      for (let row = itemBegin[past]; row < itemBegin[past + 1]; row++) {
        bytes += (items.end[row] - items.begin[row]) * tokenBytes[items.cargo[row]];
      }
      const level = outermostLevel(spans, rankOf(hierarchy, from[past], 0), rankOf(hierarchy, to[past], 0));
      sent.add(endOf(from[past], level), bytes);
      received.add(endOf(to[past], level), bytes);
      levelOf[past] = level;
      messageUs[past] = bytes;
      const place = at * units + to[past];
      receivedBytes[place] += bytes;
      if (bytes > largestBytes[place]) largestBytes[place] = bytes;
    }
    for (let message = first; message < past; message++) {
      const level = levelOf[message];
      const { [message]: bytes } = messageUs;
      const ofEnds = Math.max(
        sent.shared(endOf(from[message], level), bytes),
        received.shared(endOf(to[message], level), bytes),
      );
      messageUs[message] = clocks[level].transferUs(bytes, ofEnds / sharing[level], isMutual[message] === 1);
      us[at] = Math.max(us[at], messageUs[message]);
    }
    first = past;
  }
  roundBegin[rounds] = first;
  return { us, messageUs, receivedBytes, largestBytes, roundBegin };
}

/** The cluster's `levelBetween` two different ranks, by what a unit of each level spans: asked for every message. */
function outermostLevel(spans: readonly number[], a: number, b: number): number {
  let level = 0;
  while (Math.floor(a / spans[level]) !== Math.floor(b / spans[level])) level++;
  return level;
}

/** The messages (1) whose receiver sends to their sender in the same round. */
function mutualMessages({ round, from, to }: Messages, traffic: Traffic): Uint8Array {
  const isMutual = new Uint8Array(round.length);
  const { sent, sentBegin, received, receivedBegin } = traffic;
  for (let unit = 0; unit + 1 < sentBegin.length; unit++) {
    // Both lists are in order of round and of the other unit.
    let back = receivedBegin[unit];
    for (let i = sentBegin[unit]; i < sentBegin[unit + 1]; i++) {
      const message = sent[i];
      while (back < receivedBegin[unit + 1] && isEarlier(received[back], message)) back++;
      if (back === receivedBegin[unit + 1]) break;
      const other = received[back];
      if (round[other] === round[message] && from[other] === to[message]) isMutual[message] = 1;
    }
  }
  return isMutual;

  function isEarlier(other: number, message: number): boolean {
    return round[other] < round[message] || (round[other] === round[message] && from[other] < to[message]);
  }
}

/** What the ends of links carry in a round. */
class Ends {
  readonly #bytes: Float64Array;
  readonly #messages: Int32Array;

  constructor(ends: number) {
    this.#bytes = new Float64Array(ends);
    this.#messages = new Int32Array(ends);
  }

  clear(): void {
    this.#bytes.fill(0);
    this.#messages.fill(0);
  }

  add(end: number, bytes: number): void {
    this.#bytes[end] += bytes;
    this.#messages[end]++;
  }

  /** What the end has carried when one of its messages is through. */
  shared(end: number, bytes: number): number {
    return Math.min(this.#bytes[end], this.#messages[end] * bytes);
  }
}
