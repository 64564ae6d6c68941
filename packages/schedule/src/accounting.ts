import { levelBetween } from "@hsap/cluster";
import { opKinds, tileMasks } from "./op.ts";
import { type Schedule, worldSizeOf } from "./schedule.ts";
import { wireBytesOf } from "./tensor.ts";
import { tileArea } from "./tiles.ts";

/** One number for each rank, and what people ask about such numbers. */
export interface Spread {
  readonly perRank: Float64Array;
  readonly total: number;
  readonly mean: number;
  readonly max: number;
  /** max / mean; 1 is perfect. 1 as well if all are 0. */
  readonly balance: number;
}

/** What a schedule costs, counted op by op; nothing is estimated. */
export interface Account {
  /** Bytes each rank receives: `tokens * heads * width * bytesPerElement` of every received block, in its tensor's dtype. */
  readonly receivedBytes: Spread;
  /** Bytes by the level of the link that joins sender and receiver, innermost first. */
  readonly bytesByLevel: readonly number[];
  /** Bytes received from another node: all levels but the innermost. */
  readonly betweenNodesBytes: number;
  /** (query, key, head) triples each rank computes. A fused tile counts its unmasked pairs, an unfused one its rectangle. */
  readonly area: Spread;
  /** Tokens each rank owns. */
  readonly tokens: Spread;
  /** Groups of sends and receives on each rank. */
  readonly groups: Spread;
  readonly ops: Spread;
}

/** Counts bytes, area, tokens, groups and ops of a schedule, in one pass over its columns. */
export function accountOf(schedule: Schedule): Account {
  const { received, byLevel } = countBytes(schedule);
  const { opBegin, ops, layout } = schedule;
  const ranks = worldSizeOf(schedule);
  const opCounts = new Float64Array(ranks);
  const groupCounts = new Float64Array(ranks);
  for (let rank = 0; rank < ranks; rank++) {
    opCounts[rank] = opBegin[rank + 1] - opBegin[rank];
    let last = -1;
    for (let row = opBegin[rank]; row < opBegin[rank + 1]; row++) {
      if (ops.group[row] < 0 || ops.group[row] === last) continue;
      last = ops.group[row];
      groupCounts[rank]++;
    }
  }
  const tokens = Float64Array.from(layout, (ranges) => ranges.reduce((sum, { begin, end }) => sum + end - begin, 0));
  return {
    receivedBytes: spreadOf(received),
    bytesByLevel: byLevel,
    betweenNodesBytes: byLevel.slice(1).reduce((sum, bytes) => sum + bytes, 0),
    area: spreadOf(countArea(schedule)),
    tokens: spreadOf(tokens),
    groups: spreadOf(groupCounts),
    ops: spreadOf(opCounts),
  };
}

export function spreadOf(perRank: Float64Array): Spread {
  let total = 0;
  let max = 0;
  for (const value of perRank) {
    total += value;
    max = Math.max(max, value);
  }
  const mean = total / perRank.length;
  return { perRank, total, mean, max, balance: total === 0 ? 1 : max / mean };
}

function countBytes(schedule: Schedule): { received: Float64Array; byLevel: number[] } {
  const { opBegin, ops, blocks, tensors, problem } = schedule;
  const received = new Float64Array(worldSizeOf(schedule));
  const byLevel = problem.cluster.levels.map(() => 0);
  const recv = opKinds.indexOf("recv");
  const bytes = Float64Array.from(tensors, wireBytesOf);
  for (let rank = 0; rank < received.length; rank++) {
    // The level of each peer is looked up once for a rank, not once for a receive.
    const levels = new Map<number, number>();
    for (let row = opBegin[rank]; row < opBegin[rank + 1]; row++) {
      if (ops.kind[row] !== recv) continue;
      let sum = 0;
      for (let i = ops.operandBegin[row]; i < ops.operandBegin[row + 1]; i++) {
        const id = ops.operands[i];
        const tokens = blocks.tokenEnd[id] - blocks.tokenBegin[id];
        sum += tokens * (blocks.headEnd[id] - blocks.headBegin[id]) * bytes[blocks.tensor[id]];
      }
      const peer = ops.peer[row];
      const level = levels.get(peer) ?? levelBetween(problem.cluster, rank, peer);
      levels.set(peer, level);
      received[rank] += sum;
      byLevel[level] += sum;
    }
  }
  return { received, byLevel };
}

function countArea({ opBegin, ops, blocks }: Schedule): Float64Array {
  const area = new Float64Array(opBegin.length - 1);
  const attend = opKinds.indexOf("attend");
  const score = opKinds.indexOf("score");
  const causal = tileMasks.indexOf("causal");
  for (let rank = 0; rank < area.length; rank++) {
    for (let row = opBegin[rank]; row < opBegin[rank + 1]; row++) {
      if (ops.kind[row] !== attend && ops.kind[row] !== score) continue;
      const q = ops.operands[ops.operandBegin[row]];
      const k = ops.operands[ops.operandBegin[row] + 1];
      const qBegin = blocks.tokenBegin[q];
      const qEnd = blocks.tokenEnd[q];
      const kBegin = blocks.tokenBegin[k];
      const kEnd = blocks.tokenEnd[k];
      // An unfused tile computes its whole rectangle and masks afterwards.
      const mask = ops.kind[row] === attend && ops.attribute[row] === causal ? "causal" : "full";
      area[rank] += tileArea({ qBegin, qEnd, kBegin, kEnd, mask }) * (blocks.headEnd[q] - blocks.headBegin[q]);
    }
  }
  return area;
}
