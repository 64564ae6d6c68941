import { opKinds } from "./op.ts";
import { type Schedule, worldSizeOf } from "./schedule.ts";

/**
 * For each send or receive the row of its other side, or -1: sends and receives between two ranks pair up in issue order.
 * Also -1 for computation ops, surplus sends or receives, and peers that do not exist.
 */
export function pairTransfers(schedule: Schedule): Int32Array {
  const { ops, opBegin } = schedule;
  const ranks = worldSizeOf(schedule);
  const rows = ops.kind.length;
  const partner = new Int32Array(rows).fill(-1);
  const send = opKinds.indexOf("send");
  const recv = opKinds.indexOf("recv");
  // One queue of sends for each (source, destination), linked through the rows themselves.
  const next = new Int32Array(rows).fill(-1);
  const head = new Map<number, number>();
  const tail = new Map<number, number>();
  for (let rank = 0; rank < ranks; rank++) {
    for (let row = opBegin[rank]; row < opBegin[rank + 1]; row++) {
      if (ops.kind[row] !== send) continue;
      const queue = rank * ranks + ops.peer[row];
      const last = tail.get(queue);
      if (last === undefined) head.set(queue, row);
      else next[last] = row;
      tail.set(queue, row);
    }
  }
  for (let rank = 0; rank < ranks; rank++) {
    for (let row = opBegin[rank]; row < opBegin[rank + 1]; row++) {
      const peer = ops.peer[row];
      if (ops.kind[row] !== recv || peer < 0 || peer >= ranks) continue;
      const queue = peer * ranks + rank;
      const sent = head.get(queue);
      if (sent === undefined || sent < 0) continue;
      head.set(queue, next[sent]);
      partner[row] = sent;
      partner[sent] = row;
    }
  }
  return partner;
}
