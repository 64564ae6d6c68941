import { type Cluster, type DeviceTiming, deviceTiming, levelBetween, ranksPerNode } from "@hsap/cluster";
import { bytesPerElement, type Problem } from "@hsap/schedule";
import { type Hierarchy, rankOf } from "../hierarchy.ts";
import type { Part } from "../plan.ts";
import type { Messages } from "../route/message.ts";

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

/** Microseconds until bytes are there that go alone between two ranks of a level, or as a part of all that an end has to carry. */
export function transferUs({ device, levels }: Cluster, level: number, ofEnd: number, ofPair: number): number {
  const { transferLaunchUs, pairShare } = deviceTiming(device);
  const { bandwidthGBps, latencyUs } = levels[level];
  const bytes = Math.max(ofEnd, ofPair / pairShare[Math.min(1, level)]);
  return transferLaunchUs + latencyUs + bytes / (1e3 * bandwidthGBps);
}

/** Microseconds in which the units of a part gather and scatter heads; 0 where none are split. */
export function allToAllTimes(problem: Problem, { hierarchy, sharding }: Pick<Part, "hierarchy" | "sharding">) {
  const { shape, cluster, pass } = problem;
  const { ulysses, units } = hierarchy;
  const headBytes = shape.headDim * bytesPerElement[shape.dtype];
  // Lanes that share a kv head each get it.
  const kvHeads = 2 * Math.max(shape.kvHeads, ulysses);
  const [gathered, scattered] =
    pass === "forward" ? [shape.heads + kvHeads, shape.heads] : [shape.heads, shape.heads + kvHeads];
  const gatherUs = new Float64Array(units);
  const scatterUs = new Float64Array(units);
  for (let unit = 0; unit < units && ulysses > 1; unit++) {
    let tokens = 0;
    for (let row = sharding.pieceBegin[unit]; row < sharding.pieceBegin[unit + 1]; row++) {
      tokens += sharding.pieces.end[row] - sharding.pieces.begin[row];
    }
    const moved = (tokens / ulysses) * headBytes * ((ulysses - 1) / ulysses);
    gatherUs[unit] = allToAllUs(cluster, ulysses, gathered * moved);
    scatterUs[unit] = allToAllUs(cluster, ulysses, scattered * moved);
  }
  return { gatherUs, scatterUs };
}

/** Bytes of a token's key and value, or of their gradients, that one lane holds. */
export const laneTokenBytes = ({ shape }: Problem, { ulysses }: Pick<Hierarchy, "ulysses">): number =>
  2 * Math.max(1, shape.kvHeads / ulysses) * shape.headDim * bytesPerElement[shape.dtype];

/** Microseconds of rounds of messages, each by itself. */
export interface RoundTimes {
  /** Of the slowest unit, by round. */
  readonly us: Float64Array;
  /** Of each message, beside the others of its round. */
  readonly messageUs: Float64Array;
  /** Messages of round r are rows roundBegin[r] up to, not including, roundBegin[r + 1]. */
  readonly roundBegin: Int32Array;
}

/**
 * What goes between one pair of ranks goes at a share of the link's bandwidth at most; what several messages of one end need of
 * it they share fairly, so that a small one is there before the large ones.
 */
export function roundTimes(problem: Problem, hierarchy: Hierarchy, messages: Messages): RoundTimes {
  const { cluster } = problem;
  const { rounds, round, from, to, itemBegin, items } = messages;
  const levels = cluster.levels.length;
  const { units } = hierarchy;
  const tokenBytes = laneTokenBytes(problem, hierarchy);
  const us = new Float64Array(rounds);
  const messageUs = new Float64Array(round.length);
  const roundBegin = new Int32Array(rounds + 1);
  const levelOf = new Uint8Array(round.length);
  const sent = new Ends(units * levels);
  const received = new Ends(units * levels);
  let first = 0;
  for (let at = 0; at < rounds; at++) {
    roundBegin[at] = first;
    sent.clear();
    received.clear();
    let past = first;
    for (; past < round.length && round[past] === at; past++) {
      let tokens = 0;
      for (let row = itemBegin[past]; row < itemBegin[past + 1]; row++) tokens += items.end[row] - items.begin[row];
      const bytes = tokens * tokenBytes;
      const level = levelBetween(cluster, rankOf(hierarchy, from[past], 0), rankOf(hierarchy, to[past], 0));
      sent.add(from[past] * levels + level, bytes);
      received.add(to[past] * levels + level, bytes);
      levelOf[past] = level;
      messageUs[past] = bytes;
    }
    for (let message = first; message < past; message++) {
      const level = levelOf[message];
      const { [message]: bytes } = messageUs;
      const ofEnds = Math.max(
        sent.shared(from[message] * levels + level, bytes),
        received.shared(to[message] * levels + level, bytes),
      );
      messageUs[message] = transferUs(cluster, level, ofEnds, bytes);
      us[at] = Math.max(us[at], messageUs[message]);
    }
    first = past;
  }
  roundBegin[rounds] = first;
  return { us, messageUs, roundBegin };
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
