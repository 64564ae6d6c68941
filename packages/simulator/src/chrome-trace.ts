import { formatBlock, opAt, opKinds, pairTransfers, type Schedule, type Trace, worldSizeOf } from "@hsap/schedule";

/** A trace in the JSON that Perfetto and chrome://tracing read. Times are microseconds. */
export interface ChromeTrace {
  readonly displayTimeUnit: "ms";
  readonly otherData: Readonly<Record<string, string>>;
  readonly traceEvents: readonly ChromeEvent[];
}

export interface ChromeEvent {
  readonly name: string;
  readonly ph: "X" | "M" | "s" | "f";
  readonly pid: number;
  readonly tid: number;
  readonly ts?: number;
  readonly dur?: number;
  readonly id?: number;
  readonly cat?: string;
  readonly bp?: "e";
  readonly args?: Readonly<Record<string, string | number>>;
}

const laneNames = ["computation", "communication"] as const;

/**
 * One process for each rank, one thread for each of its lanes, an arrow for each message; works for measured traces as for
 * simulated ones, and every rank's name says which of them it is.
 */
export function chromeTrace(schedule: Schedule, trace: Trace): ChromeTrace {
  const { strategy, problem, opBegin, ops } = schedule;
  const traceEvents: ChromeEvent[] = [];
  const partner = pairTransfers(schedule);
  const send = opKinds.indexOf("send");
  for (let rank = 0; rank < worldSizeOf(schedule); rank++) {
    traceEvents.push(nameOf("process_name", rank, 0, `rank ${rank} (${trace.origin})`));
    for (const [tid, lane] of laneNames.entries()) traceEvents.push(nameOf("thread_name", rank, tid, lane));
    for (let row = opBegin[rank]; row < opBegin[rank + 1]; row++) {
      const tid = ops.group[row] < 0 ? 0 : 1;
      traceEvents.push(eventOf(schedule, trace, row, rank, tid));
      if (tid === 0 || partner[row] < 0) continue;
      const isSend = ops.kind[row] === send;
      const id = isSend ? row : partner[row];
      const arrow = { name: "message", cat: "message", id, pid: rank, tid };
      // The arrow leaves with the send's begin and ends inside of the receive, on whose end it is bound.
      if (isSend) traceEvents.push({ ...arrow, ph: "s", ts: trace.beginUs[row] });
      else traceEvents.push({ ...arrow, ph: "f", bp: "e", ts: Math.max(trace.beginUs[row], trace.endUs[row] - 1e-3) });
    }
  }
  const title = `${strategy}, ${problem.pass}, ${problem.cluster.name} (${trace.origin})`;
  return { displayTimeUnit: "ms", otherData: { title, origin: trace.origin }, traceEvents };
}

function eventOf(
  schedule: Schedule,
  { beginUs, endUs, busyUs }: Trace,
  row: number,
  pid: number,
  tid: number,
): ChromeEvent {
  const op = opAt(schedule, row);
  const to = op.kind === "send" ? ` to ${op.peer}` : op.kind === "recv" ? ` from ${op.peer}` : "";
  return {
    name: `${op.kind}${to}`,
    ph: "X",
    cat: tid === 0 ? "computation" : "communication",
    pid,
    tid,
    ts: beginUs[row],
    dur: Math.max(0, endUs[row] - beginUs[row]),
    args: { blocks: op.blocks.map(formatBlock).join(" "), busyUs: busyUs[row], op: row - schedule.opBegin[pid] },
  };
}

const nameOf = (what: string, pid: number, tid: number, name: string): ChromeEvent => ({
  name: what,
  ph: "M",
  pid,
  tid,
  args: { name },
});
