import { isCommunication, type LoweredSchedule, opKinds, type Schedule, type Trace } from "@hsap/schedule";

const communicates = opKinds.map(isCommunication);

/**
 * The longest chain of computation, in milliseconds: each op costs the processor time it took, starts when its lane and its
 * dependencies allow, and a group of transfers is complete, at no cost, once everybody who sends into it was ready to. It is
 * what the step would take with a processor for each rank and a network that is never in the way.
 */
export function longestChainMs(schedule: Schedule, { op }: LoweredSchedule, trace: Trace): number {
  const lanes = lanesOf(schedule);
  const ranks = lanes.length;
  const computed = lanes.map(() => [] as number[]);
  const ready = lanes.map(() => [] as number[]);
  const arrived = lanes.map(() => [] as number[]);
  const step = (rank: number): boolean => {
    const { tiles, groups } = lanes[rank];
    let progress = false;
    for (let i = computed[rank].length; i < tiles.length && op.waitFor[tiles[i]] <= arrived[rank].length; i++) {
      const begin = Math.max(at(computed[rank], i), at(arrived[rank], op.waitFor[tiles[i]]));
      computed[rank].push(begin + trace.busyUs[tiles[i]]);
      progress = true;
    }
    const next = arrived[rank].length;
    if (next === groups.length) return progress;
    const { row, sources } = groups[next];
    if (ready[rank].length === next && op.waitFor[row] <= computed[rank].length) {
      ready[rank].push(Math.max(at(arrived[rank], next), at(computed[rank], op.waitFor[row])));
      progress = true;
    }
    if (ready[rank].length > next && sources.every(({ rank: source, group }) => ready[source].length > group)) {
      arrived[rank].push(
        Math.max(ready[rank][next], ...sources.map(({ rank: source, group }) => ready[source][group])),
      );
      progress = true;
    }
    return progress;
  };
  for (let moved = true; moved; ) {
    moved = false;
    for (let rank = 0; rank < ranks; rank++) while (step(rank)) moved = true;
  }
  const stuck = lanes.findIndex(({ tiles }, rank) => computed[rank].length < tiles.length);
  if (stuck >= 0)
    throw new Error(`schedule cannot finish: rank ${stuck} waits for ever (the verifier names the cause)`);
  return Math.max(0, ...computed.map((ends) => at(ends, ends.length))) / 1000;
}

interface Lanes {
  /** Rows of the rank's computation ops. */
  readonly tiles: number[];
  /** First row of each group, and the groups of other ranks that send into it. */
  readonly groups: { readonly row: number; readonly sources: { readonly rank: number; readonly group: number }[] }[];
}

/** Splits the programs into lanes, and pairs each receive with the group that sends it: in order, by source and destination. */
function lanesOf({ opBegin, ops }: Schedule): Lanes[] {
  const ranks = opBegin.length - 1;
  const sends = new Map<number, number[]>();
  const received = new Map<number, number>();
  const lanes: Lanes[] = Array.from({ length: ranks }, () => ({ tiles: [], groups: [] }));
  const send = opKinds.indexOf("send");
  const rowsOf = (visit: (rank: number, row: number) => void) => {
    for (let rank = 0; rank < ranks; rank++)
      for (let row = opBegin[rank]; row < opBegin[rank + 1]; row++) visit(rank, row);
  };
  rowsOf((rank, row) => {
    if (!communicates[ops.kind[row]]) lanes[rank].tiles.push(row);
    else if (ops.group[row] === lanes[rank].groups.length) lanes[rank].groups.push({ row, sources: [] });
    if (ops.kind[row] !== send) return;
    const pair = rank * ranks + ops.peer[row];
    if (!sends.has(pair)) sends.set(pair, []);
    sends.get(pair)?.push(ops.group[row]);
  });
  rowsOf((rank, row) => {
    if (!communicates[ops.kind[row]] || ops.kind[row] === send) return;
    const pair = ops.peer[row] * ranks + rank;
    const index = received.get(pair) ?? 0;
    received.set(pair, index + 1);
    const group = sends.get(pair)?.[index];
    if (group !== undefined) lanes[rank].groups[ops.group[row]].sources.push({ rank: ops.peer[row], group });
  });
  return lanes;
}

/** When the first `count` items were all finished, of items that finish in order. */
function at(ends: readonly number[], count: number): number {
  return count === 0 ? 0 : ends[count - 1];
}
