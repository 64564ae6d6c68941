import { levelBetween } from "@hsap/cluster";
import { opAt, type Schedule, type Trace, worldSizeOf } from "@hsap/schedule";

/** What a lane does: computes attention, adds up partial results, or moves blocks over the link of a level. */
export type Activity = "attention" | "sums" | { readonly level: number };

export interface LaneBar {
  readonly rank: number;
  readonly lane: "communication" | "computation";
  readonly activity: Activity;
  readonly beginUs: number;
  readonly endUs: number;
  /** How many ops it stands for. */
  readonly ops: number;
}

/** Bars of both lanes of all ranks: one for each computation op, one for each group of transfers (over its outermost link). */
export function laneBars(schedule: Schedule, trace: Trace): LaneBar[] {
  const { cluster } = schedule.problem;
  const bars: LaneBar[] = [];
  for (let rank = 0; rank < worldSizeOf(schedule); rank++) {
    const groups = new Map<number, LaneBar & { activity: { level: number } }>();
    for (let row = schedule.opBegin[rank]; row < schedule.opBegin[rank + 1]; row++) {
      const op = opAt(schedule, row);
      const time = { beginUs: trace.beginUs[row], endUs: trace.endUs[row] };
      if (op.kind !== "send" && op.kind !== "recv") {
        bars.push({ rank, lane: "computation", activity: activityOf(op.kind), ops: 1, ...time });
        continue;
      }
      const level = levelBetween(cluster, rank, op.peer);
      const before = groups.get(op.group);
      groups.set(op.group, {
        rank,
        lane: "communication",
        activity: { level: Math.max(level, before?.activity.level ?? 0) },
        beginUs: Math.min(time.beginUs, before?.beginUs ?? time.beginUs),
        endUs: Math.max(time.endUs, before?.endUs ?? time.endUs),
        ops: 1 + (before?.ops ?? 0),
      });
    }
    bars.push(...groups.values());
  }
  return bars;
}

/**
 * Joins neighbours of one lane and activity that are too short to be seen apart: with a gap below `resolutionUs`, where
 * one of them is shorter than four times that.
 */
export function joinShortBars(bars: readonly LaneBar[], resolutionUs: number): LaneBar[] {
  const joined: LaneBar[] = [];
  const lastOf = new Map<string, number>();
  for (const bar of [...bars].sort((a, b) => a.rank - b.rank || a.beginUs - b.beginUs)) {
    const lane = `${bar.rank} ${bar.lane}`;
    const at = lastOf.get(lane);
    const last = at === undefined ? undefined : joined[at];
    const short = (of: LaneBar) => of.endUs - of.beginUs < 4 * resolutionUs;
    if (
      at !== undefined &&
      last !== undefined &&
      sameActivity(last.activity, bar.activity) &&
      bar.beginUs - last.endUs < resolutionUs &&
      (short(last) || short(bar))
    ) {
      joined[at] = { ...last, endUs: Math.max(last.endUs, bar.endUs), ops: last.ops + bar.ops };
    } else {
      lastOf.set(lane, joined.push(bar) - 1);
    }
  }
  return joined;
}

/** Processor time of each rank's computation, in milliseconds. */
export function computationMs({ opBegin, ops }: Schedule, trace: Trace): number[] {
  return Array.from({ length: opBegin.length - 1 }, (_, rank) => {
    let busyUs = 0;
    for (let row = opBegin[rank]; row < opBegin[rank + 1]; row++) if (ops.group[row] < 0) busyUs += trace.busyUs[row];
    return busyUs / 1000;
  });
}

const sums = new Set(["merge", "reduce", "copy"]);

const activityOf = (kind: string): Activity => (sums.has(kind) ? "sums" : "attention");

const sameActivity = (a: Activity, b: Activity): boolean =>
  typeof a === "object" && typeof b === "object" ? a.level === b.level : a === b;
