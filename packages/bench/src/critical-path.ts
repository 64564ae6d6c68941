import {
  isCommunication,
  type LoweredSchedule,
  opKinds,
  pairTransfers,
  type Schedule,
  type Trace,
  worldSizeOf,
} from "@hsap/schedule";

const communicates = opKinds.map(isCommunication);

/**
 * The critical path of a run, in milliseconds: what the step would take if every rank had a core of its own and transfers were
 * free, computed from the processor time that each op took. Each rank goes through its ops in issue order; a *stage* is
 * what it computes between two groups of transfers, and at a group it waits until the ranks that send to it have come that
 * far. So the path is made of the slowest rank of each stage, among those that wait for one another; it shows the imbalance
 * that wall time hides where ranks share cores. Where a rank computes on several threads each has a core, and an op's time is shared
 * evenly.
 */
export function criticalPathMs(schedule: Schedule, trace: Trace, threadsPerRank = 1): number {
  return lastEndMs(schedule, trace, issueOrderWaits(schedule), threadsPerRank);
}

/**
 * As `criticalPathMs`, but with the overlap that the schedule allows: an op waits only for the items of the other lane that it
 * needs (`waitFor` of the lowered schedule). No run with a core for each rank could be faster.
 */
export function longestChainMs(schedule: Schedule, { op }: LoweredSchedule, trace: Trace, threadsPerRank = 1): number {
  return lastEndMs(schedule, trace, op.waitFor, threadsPerRank);
}

/** For each op how many items of the other lane stand before it in its rank's program: tiles for a transfer, else groups. */
function issueOrderWaits({ opBegin, ops }: Schedule): Int32Array {
  const waits = new Int32Array(ops.kind.length);
  for (let rank = 0; rank < opBegin.length - 1; rank++) {
    let tiles = 0;
    let groups = 0;
    for (let row = opBegin[rank]; row < opBegin[rank + 1]; row++) {
      const transfer = communicates[ops.kind[row]];
      waits[row] = transfer ? tiles : groups;
      if (transfer) groups = Math.max(groups, ops.group[row] + 1);
      else tiles++;
    }
  }
  return waits;
}

/** When the last rank ends, if tiles take their processor time, transfers none, and each op waits for as many as `waits` says. */
function lastEndMs(schedule: Schedule, trace: Trace, waits: Int32Array, threadsPerRank: number): number {
  const lanes = lanesOf(schedule);
  const progress = lanes.map(() => ({
    tileEnds: [] as number[],
    groupBegins: [] as number[],
    groupEnds: [] as number[],
  }));
  const advance = (rank: number): boolean => {
    const { tiles, groups } = lanes[rank];
    const { tileEnds, groupBegins, groupEnds } = progress[rank];
    const before = tileEnds.length + groupBegins.length + groupEnds.length;
    while (tileEnds.length < tiles.length && waits[tiles[tileEnds.length]] <= groupEnds.length) {
      const row = tiles[tileEnds.length];
      const begin = Math.max(afterFirst(tileEnds.length, tileEnds), afterFirst(waits[row], groupEnds));
      tileEnds.push(begin + trace.busyUs[row] / threadsPerRank);
    }
    const next = groupEnds.length;
    if (next < groups.length) {
      const { row, sources } = groups[next];
      if (groupBegins.length === next && waits[row] <= tileEnds.length) {
        groupBegins.push(Math.max(afterFirst(next, groupEnds), afterFirst(waits[row], tileEnds)));
      }
      const begins = [
        groupBegins[next],
        ...sources.map(({ rank: source, group }) => progress[source].groupBegins[group]),
      ];
      if (begins.every((begin) => begin !== undefined)) groupEnds.push(Math.max(...begins));
    }
    return tileEnds.length + groupBegins.length + groupEnds.length > before;
  };
  let moved = true;
  while (moved) {
    moved = false;
    for (let rank = 0; rank < lanes.length; rank++) while (advance(rank)) moved = true;
  }
  const stuck = lanes.findIndex(({ tiles }, rank) => progress[rank].tileEnds.length < tiles.length);
  if (stuck >= 0) throw new Error(`schedule cannot end: rank ${stuck} waits for ever (the verifier names the cause)`);
  return Math.max(...progress.map(({ tileEnds }) => afterFirst(tileEnds.length, tileEnds))) / 1000;
}

interface Lanes {
  /** Rows of the rank's computation ops. */
  readonly tiles: number[];
  /** First row of each group, and the groups of other ranks that send into it. */
  readonly groups: { readonly row: number; readonly sources: { readonly rank: number; readonly group: number }[] }[];
}

function lanesOf(schedule: Schedule): Lanes[] {
  const { opBegin, ops } = schedule;
  const partner = pairTransfers(schedule);
  const recv = opKinds.indexOf("recv");
  return Array.from({ length: worldSizeOf(schedule) }, (_, rank) => {
    const { tiles, groups }: Lanes = { tiles: [], groups: [] };
    for (let row = opBegin[rank]; row < opBegin[rank + 1]; row++) {
      if (!communicates[ops.kind[row]]) tiles.push(row);
      else if (ops.group[row] === groups.length) groups.push({ row, sources: [] });
      if (ops.kind[row] !== recv) continue;
      groups[ops.group[row]].sources.push({ rank: ops.peer[row], group: ops.group[partner[row]] });
    }
    return { tiles, groups };
  });
}

/** When the first `count` items of a lane had all ended; they end in order. */
function afterFirst(count: number, ends: readonly number[]): number {
  return count === 0 ? 0 : ends[count - 1];
}
