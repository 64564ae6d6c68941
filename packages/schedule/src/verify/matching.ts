import { formatBlock } from "../block.ts";
import { isCommunication, opKinds } from "../op.ts";
import { blockAt, type Schedule, worldSizeOf } from "../schedule.ts";
import { pairTransfers } from "../transfers.ts";
import type { FindingLog, Subject } from "./finding.ts";

/**
 * `matching`: every send has its receive with the same blocks, the transfers of one group do not overlap, and the programs
 * can be run to their end. Returns the pairs, for `progress`.
 */
export function checkMatching(schedule: Schedule, log: FindingLog): Int32Array {
  const partner = pairTransfers(schedule);
  checkPairs(schedule, partner, log);
  checkGroups(schedule, log);
  if (!log.has("matching")) checkProgress(schedule, partner, log);
  return partner;
}

/** What happens while programs are progressed; rows are rows of the op table. */
export interface ProgressVisitor {
  /** A rank has come to a computation op. */
  compute?(rank: number, row: number): void;
  /** A rank has come to a group, rows `begin` to `end`: what it sends is now as it will be sent. */
  begin?(rank: number, begin: number, end: number): void;
  /** All transfers of a group are done. */
  finish?(rank: number, begin: number, end: number): void;
}

/**
 * Runs all programs to their end as far as they go, and returns for each rank the row at which it stands. A group is done
 * when each of its transfers has met its other side, in a group that the other rank has come to. Computations never block, and
 * a lane waits only for what stands before in its own list, so programs that end here end in every run.
 */
export function progress(schedule: Schedule, partner: Int32Array, visitor: ProgressVisitor = {}): Int32Array {
  const { ops, opBegin } = schedule;
  const ranks = worldSizeOf(schedule);
  const at = opBegin.slice(0, ranks);
  const groupEnd = new Int32Array(ranks);
  const waitingFor = new Int32Array(ranks);
  const arrived = new Uint8Array(ops.kind.length);
  const ready = Array.from({ length: ranks }, (_, i) => ranks - 1 - i);

  const finish = (rank: number): void => {
    visitor.finish?.(rank, at[rank], groupEnd[rank]);
    at[rank] = groupEnd[rank];
    ready.push(rank);
  };

  /** Enters the group that begins where the rank stands, and finishes all groups that have waited only for it. */
  const enter = (rank: number): void => {
    const begin = at[rank];
    groupEnd[rank] = endOfGroup(schedule, begin, opBegin[rank + 1]);
    visitor.begin?.(rank, begin, groupEnd[rank]);
    waitingFor[rank] = groupEnd[rank] - begin;
    arrived.fill(1, begin, groupEnd[rank]);
    for (let row = begin; row < groupEnd[rank]; row++) {
      if (partner[row] < 0 || arrived[partner[row]] === 0) continue;
      waitingFor[rank]--;
      const peer = ops.peer[row];
      if (--waitingFor[peer] === 0) finish(peer);
    }
    if (waitingFor[rank] === 0) finish(rank);
  };

  for (let rank = ready.pop(); rank !== undefined; rank = ready.pop()) {
    while (at[rank] < opBegin[rank + 1] && !isCommunication(opKinds[ops.kind[at[rank]]])) {
      visitor.compute?.(rank, at[rank]);
      at[rank]++;
    }
    if (at[rank] < opBegin[rank + 1]) enter(rank);
  }
  return at;
}

function endOfGroup({ ops }: Schedule, begin: number, programEnd: number): number {
  let end = begin + 1;
  while (end < programEnd && ops.group[end] === ops.group[begin]) end++;
  return end;
}

function checkPairs(schedule: Schedule, partner: Int32Array, log: FindingLog): void {
  const { ops, opBegin } = schedule;
  const ranks = worldSizeOf(schedule);
  for (let rank = 0; rank < ranks; rank++) {
    for (let row = opBegin[rank]; row < opBegin[rank + 1]; row++) {
      const kind = opKinds[ops.kind[row]];
      if (!isCommunication(kind)) continue;
      const isEmpty = ops.operandBegin[row] === ops.operandBegin[row + 1];
      const first: Subject = isEmpty ? {} : { block: ops.operands[ops.operandBegin[row]] };
      const peer = ops.peer[row];
      if (first.block === undefined) log.add("matching", { row }, "moves no blocks");
      if (peer < 0 || peer >= ranks || peer === rank) {
        log.add("matching", { row, ...first }, `invalid peer: ${peer} (must be another of ${ranks} ranks)`);
      } else if (partner[row] < 0) {
        const other = kind === "send" ? `rank ${peer} has no receive for it` : `rank ${peer} sends nothing for it`;
        log.add("matching", { row, ...first }, other);
      } else if (kind === "send") checkSameBlocks(schedule, row, partner[row], log);
    }
  }
}

function checkSameBlocks(schedule: Schedule, send: number, recv: number, log: FindingLog): void {
  const { ops, blocks, opBegin } = schedule;
  const [begin, recvBegin] = [ops.operandBegin[send], ops.operandBegin[recv]];
  const count = ops.operandBegin[send + 1] - begin;
  const recvCount = ops.operandBegin[recv + 1] - recvBegin;
  const where = `op ${recv - opBegin[ops.peer[send]]} of rank ${ops.peer[send]}`;
  for (let i = 0; i < Math.min(count, recvCount); i++) {
    const [a, b] = [ops.operands[begin + i], ops.operands[recvBegin + i]];
    const same =
      blocks.tensor[a] === blocks.tensor[b] &&
      blocks.part[a] === blocks.part[b] &&
      blocks.tokenBegin[a] === blocks.tokenBegin[b] &&
      blocks.tokenEnd[a] === blocks.tokenEnd[b] &&
      blocks.headBegin[a] === blocks.headBegin[b] &&
      blocks.headEnd[a] === blocks.headEnd[b];
    if (!same) {
      log.add("matching", { row: send, block: a }, `${where} takes it as ${formatBlock(blockAt(schedule, b))}`);
      return;
    }
  }
  if (count !== recvCount) log.add("matching", { row: send }, `${count} blocks, but ${where} takes ${recvCount}`);
}

/** Groups are numbered in issue order, stand together, and no receive of a group touches what the group also moves. */
function checkGroups(schedule: Schedule, log: FindingLog): void {
  const { ops, opBegin } = schedule;
  for (let rank = 0; rank < worldSizeOf(schedule); rank++) {
    let next = 0;
    for (let row = opBegin[rank]; row < opBegin[rank + 1]; ) {
      if (!isCommunication(opKinds[ops.kind[row]])) {
        row++;
        continue;
      }
      if (ops.group[row] !== next) {
        log.add("matching", { row }, `group ${ops.group[row]} (must be ${next}: groups stand together and in order)`);
        return;
      }
      next++;
      const end = endOfGroup(schedule, row, opBegin[rank + 1]);
      checkOverlaps(schedule, row, end, log);
      row = end;
    }
  }
}

/** Blocks by tensor, part and token; neighbours in this order are all that can overlap but for their heads. */
function checkOverlaps(schedule: Schedule, begin: number, end: number, log: FindingLog): void {
  const { ops, blocks } = schedule;
  const moved: { id: number; row: number }[] = [];
  for (let row = begin; row < end; row++)
    for (let i = ops.operandBegin[row]; i < ops.operandBegin[row + 1]; i++) moved.push({ id: ops.operands[i], row });
  moved.sort(
    (a, b) =>
      blocks.tensor[a.id] - blocks.tensor[b.id] ||
      blocks.part[a.id] - blocks.part[b.id] ||
      blocks.tokenBegin[a.id] - blocks.tokenBegin[b.id],
  );
  let active: { id: number; row: number }[] = [];
  for (const own of moved) {
    active = active.filter(
      ({ id }) =>
        blocks.tensor[id] === blocks.tensor[own.id] &&
        blocks.part[id] === blocks.part[own.id] &&
        blocks.tokenEnd[id] > blocks.tokenBegin[own.id],
    );
    const other = active.find(
      ({ id, row }) =>
        (opKinds[ops.kind[row]] === "recv" || opKinds[ops.kind[own.row]] === "recv") &&
        blocks.headBegin[id] < blocks.headEnd[own.id] &&
        blocks.headBegin[own.id] < blocks.headEnd[id],
    );
    if (other !== undefined) {
      const [recv, with_] = opKinds[ops.kind[own.row]] === "recv" ? [own, other] : [other, own];
      log.add(
        "matching",
        { row: recv.row, block: recv.id },
        `overlaps ${formatBlock(blockAt(schedule, with_.id))}, which the same group moves`,
      );
      return;
    }
    active.push(own);
  }
}

function checkProgress(schedule: Schedule, partner: Int32Array, log: FindingLog): void {
  const { ops, opBegin } = schedule;
  const at = progress(schedule, partner);
  for (let rank = 0; rank < at.length; rank++) {
    if (at[rank] >= opBegin[rank + 1]) continue;
    const end = endOfGroup(schedule, at[rank], opBegin[rank + 1]);
    for (let row = at[rank]; row < end; row++) {
      const peer = ops.peer[row];
      // The other side has been reached if its rank stands in the group that holds it, or has passed it.
      if (partner[row] < endOfGroup(schedule, at[peer], opBegin[peer + 1])) continue;
      const what = opKinds[ops.kind[row]] === "send" ? "sends to" : "receives from";
      const stands = `stands at its op ${at[peer] - opBegin[peer]}, before the other side (op ${partner[row] - opBegin[peer]})`;
      const block = ops.operands[ops.operandBegin[row]];
      log.add("matching", { row, block }, `deadlock: ${what} rank ${peer}, which ${stands}`);
    }
  }
}
