import { nodeOf } from "@hsap/cluster";
import { type GroupKind, groupKinds, opKinds, pairTransfers, type Schedule, wireBytesOf } from "@hsap/schedule";
import type { LinkMap } from "./links.ts";
import type { Groups } from "./program-items.ts";

/** Sends and receives of a schedule: what each carries, and which groups run as one collective of a library. */
export interface Transfers {
  /** The other side of each send or receive, as a row. */
  readonly partner: Int32Array;
  /** Bytes of each send or receive. */
  readonly bytes: Float64Array;
  /** 1 for a send to a rank from which the same group receives. */
  readonly isMutual: Uint8Array;
  /** Group of each send or receive, as a row of `Groups`; -1 for computation ops. */
  readonly groupOf: Int32Array;
  readonly rankOfGroup: Int32Array;
  /** Collective of each group, or -1 where its transfers go by themselves. */
  readonly collectiveOf: Int32Array;
  readonly collectives: readonly CollectiveInstance[];
}

/** Groups of several ranks that a library runs as one. */
export interface CollectiveInstance {
  readonly kind: GroupKind;
  readonly groups: readonly number[];
  readonly nodes: number;
  /** Bytes of the largest buffer of a rank: sent or received. */
  readonly bufferBytes: number;
  readonly parts: readonly CollectivePart[];
  /** The outermost level that it uses. */
  readonly level: number;
}

/** What moves as a whole: all of a ring, or what one rank receives of an all-to-all. */
export interface CollectivePart {
  /** Bytes over each link. */
  readonly load: ReadonlyMap<number, number>;
  /** The groups that are not finished before it is. */
  readonly groups: readonly number[];
}

const send = opKinds.indexOf("send");

/**
 * Pairs the transfers and forms collectives: groups of one kind that exchange something, directly or over others.
 *
 * @throws Error if a send or receive has no other side: such a schedule breaks the verifier's rule of matching.
 */
export function transfersOf(schedule: Schedule, groups: Groups, links: LinkMap): Transfers {
  const { ops, blocks, tensors } = schedule;
  const partner = pairTransfers(schedule);
  const width = Float64Array.from(tensors, wireBytesOf);
  const bytes = new Float64Array(ops.kind.length);
  const groupOf = new Int32Array(ops.kind.length).fill(-1);
  const rankOfGroup = new Int32Array(groups.opBegin.length);
  for (let rank = 0; rank + 1 < groups.begin.length; rank++)
    rankOfGroup.fill(rank, groups.begin[rank], groups.begin[rank + 1]);
  for (let group = 0; group < groups.opBegin.length; group++) {
    for (let row = groups.opBegin[group]; row < groups.opEnd[group]; row++) {
      if (partner[row] < 0) throw new Error(`unmatched transfer: op ${row} of rank ${rankOfGroup[group]}`);
      groupOf[row] = group;
      for (let i = ops.operandBegin[row]; i < ops.operandBegin[row + 1]; i++) {
        const id = ops.operands[i];
        const heads = blocks.headEnd[id] - blocks.headBegin[id];
        bytes[row] += (blocks.tokenEnd[id] - blocks.tokenBegin[id]) * heads * width[blocks.tensor[id]];
      }
    }
  }
  const moves = { partner, bytes, groupOf, rankOfGroup, isMutual: mutualSends(schedule, groups) };
  const { collectiveOf, members } = joinGroups(groups, partner, groupOf);
  const collectives = members.map((own) => instanceOf(schedule, groups, own, moves, links));
  return { ...moves, collectiveOf, collectives };
}

function mutualSends({ ops }: Schedule, { opBegin, opEnd }: Groups): Uint8Array {
  const isMutual = new Uint8Array(ops.kind.length);
  // The group that last received from each rank.
  const receiving = new Map<number, number>();
  for (let group = 0; group < opBegin.length; group++) {
    for (let row = opBegin[group]; row < opEnd[group]; row++)
      if (ops.kind[row] !== send) receiving.set(ops.peer[row], group);
    for (let row = opBegin[group]; row < opEnd[group]; row++)
      if (ops.kind[row] === send && receiving.get(ops.peer[row]) === group) isMutual[row] = 1;
  }
  return isMutual;
}

function joinGroups(groups: Groups, partner: Int32Array, groupOf: Int32Array) {
  const count = groups.opBegin.length;
  const collectiveOf = new Int32Array(count).fill(-1);
  const members: number[][] = [];
  const p2p = groupKinds.indexOf("p2p");
  for (let seed = 0; seed < count; seed++) {
    if (collectiveOf[seed] >= 0 || groups.kind[seed] === p2p) continue;
    const own = [seed];
    collectiveOf[seed] = members.length;
    for (let i = 0; i < own.length; i++) {
      for (let row = groups.opBegin[own[i]]; row < groups.opEnd[own[i]]; row++) {
        const other = groupOf[partner[row]];
        if (collectiveOf[other] >= 0) continue;
        if (groups.kind[other] !== groups.kind[seed]) continue;
        collectiveOf[other] = members.length;
        own.push(other);
      }
    }
    members.push(own);
  }
  return { collectiveOf, members };
}

type Moves = Pick<Transfers, "partner" | "bytes" | "groupOf" | "rankOfGroup">;

function instanceOf(
  schedule: Schedule,
  groups: Groups,
  own: readonly number[],
  moves: Moves,
  links: LinkMap,
): CollectiveInstance {
  const { ops, problem } = schedule;
  const kind = groupKinds[groups.kind[own[0]]];
  let bufferBytes = 0;
  for (const group of own) {
    let [out, into] = [0, 0];
    for (let row = groups.opBegin[group]; row < groups.opEnd[group]; row++) {
      if (ops.kind[row] === send) out += moves.bytes[row];
      else into += moves.bytes[row];
    }
    bufferBytes = Math.max(bufferBytes, out, into);
  }
  const parts =
    kind === "allToAll"
      ? pairwiseParts(schedule, groups, own, moves, links)
      : [{ load: hierarchicalLoad(schedule, groups, own, moves, links), groups: own }];
  let level = 0;
  for (const { load } of parts) for (const link of load.keys()) level = Math.max(level, links.level[link]);
  const nodes = new Set(own.map((group) => nodeOf(problem.cluster, moves.rankOfGroup[group]))).size;
  return { kind, groups: own, nodes, bufferBytes, parts, level };
}

/** A part for each rank: what it receives, from each sender by itself. */
function pairwiseParts(
  { ops }: Schedule,
  groups: Groups,
  own: readonly number[],
  { partner, bytes, groupOf, rankOfGroup }: Moves,
  links: LinkMap,
): CollectivePart[] {
  return own.flatMap((group) => {
    const load = new Map<number, number>();
    const members = new Set([group]);
    for (let row = groups.opBegin[group]; row < groups.opEnd[group]; row++) {
      if (ops.kind[row] === send) continue;
      members.add(groupOf[partner[row]]);
      for (const link of links.path(ops.peer[row], rankOfGroup[group]))
        load.set(link, (load.get(link) ?? 0) + bytes[row]);
    }
    // A rank that receives nothing only sends, in the parts of others.
    return load.size === 0 ? [] : [{ load, groups: [...members] }];
  });
}

/**
 * Bytes on each link if a library sends what several ranks of a node need, or sums of what several of them have, between nodes
 * only once: inside its node every rank has all of it from a neighbour, or hands all of it to one.
 */
function hierarchicalLoad(
  schedule: Schedule,
  groups: Groups,
  own: readonly number[],
  moves: Moves,
  links: LinkMap,
): Map<number, number> {
  const { ops, problem } = schedule;
  const { cluster } = problem;
  const kind = groupKinds[groups.kind[own[0]]];
  const load = new Map<number, number>();
  const add = (link: number, bytes: number) => load.set(link, (load.get(link) ?? 0) + bytes);
  const ranksOfNode = new Map<number, number[]>();
  const crossings = new Map<string, Crossing>();
  for (const group of own) {
    const rank = moves.rankOfGroup[group];
    const node = nodeOf(cluster, rank);
    ranksOfNode.set(node, [...(ranksOfNode.get(node) ?? []), rank]);
    for (let row = groups.opBegin[group]; row < groups.opEnd[group]; row++) {
      if (ops.kind[row] !== send) continue;
      const peer = ops.peer[row];
      const peerNode = nodeOf(cluster, peer);
      if (peerNode === node) {
        for (const link of links.path(rank, peer)) add(link, moves.bytes[row]);
        continue;
      }
      add(kind === "reduceScatter" ? links.out(rank, 0) : links.into(peer, 0), moves.bytes[row]);
      const key = kind === "reduceScatter" ? `n${node}>${peer}` : `${rank}>n${peerNode}`;
      const crossing = crossings.get(key);
      if (crossing === undefined) crossings.set(key, { rows: [row], from: rank, to: peer });
      else crossing.rows.push(row);
    }
  }
  for (const { rows, from, to } of crossings.values()) {
    const bytes = kind === "allGather" ? moves.bytes[rows[0]] : unionBytes(schedule, rows);
    const senders = ranksOfNode.get(nodeOf(cluster, from)) ?? [];
    const receivers = ranksOfNode.get(nodeOf(cluster, to)) ?? [];
    // Hierarchical algorithms use the cards of all ranks of a node alike.
    for (const level of new Set(links.path(from, to).map((link) => links.level[link]))) {
      for (const rank of senders) add(links.out(rank, level), bytes / senders.length);
      for (const rank of receivers) add(links.into(rank, level), bytes / receivers.length);
    }
  }
  return load;
}

interface Crossing {
  /** Sends, and the sides of one of them. */
  readonly rows: number[];
  readonly from: number;
  readonly to: number;
}

/** Bytes of all rows that some sends have, each counted once whatever part it is of. */
function unionBytes({ ops, blocks, tensors }: Schedule, rows: readonly number[]): number {
  const ids = rows.flatMap((row) =>
    Array.from(ops.operands.subarray(ops.operandBegin[row], ops.operandBegin[row + 1])),
  );
  ids.sort(
    (a, b) =>
      blocks.tensor[a] - blocks.tensor[b] ||
      blocks.headBegin[a] - blocks.headBegin[b] ||
      blocks.tokenBegin[a] - blocks.tokenBegin[b],
  );
  let bytes = 0;
  let past = -1;
  ids.forEach((id, i) => {
    const before = ids[i - 1];
    const goesOn =
      i > 0 && blocks.tensor[before] === blocks.tensor[id] && blocks.headBegin[before] === blocks.headBegin[id];
    if (!goesOn) past = -1;
    const fresh = blocks.tokenEnd[id] - Math.max(past, blocks.tokenBegin[id]);
    past = Math.max(past, blocks.tokenEnd[id]);
    const heads = blocks.headEnd[id] - blocks.headBegin[id];
    if (fresh > 0) bytes += fresh * heads * wireBytesOf(tensors[blocks.tensor[id]]);
  });
  return bytes;
}
