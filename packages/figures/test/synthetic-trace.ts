import { opAt, type Schedule, type Trace, tileArea, worldSizeOf } from "@hsap/schedule";

/**
 * A trace for tests only: every lane runs its ops one after another, tiles take time by area and transfers by tokens, and a
 * tile waits for the groups before it. No engine ran.
 */
export function syntheticTrace(schedule: Schedule): Trace {
  const count = schedule.ops.kind.length;
  const beginUs = new Float64Array(count);
  const endUs = new Float64Array(count);
  const busyUs = new Float64Array(count);
  for (let rank = 0; rank < worldSizeOf(schedule); rank++) {
    let computed = 0;
    let arrived = 0;
    let groupBegan = 0;
    let group = -1;
    let previous = 0;
    for (let row = schedule.opBegin[rank]; row < schedule.opBegin[rank + 1]; row++) {
      const op = opAt(schedule, row);
      const tokens = op.blocks.reduce((sum, { tokenBegin, tokenEnd }) => sum + tokenEnd - tokenBegin, 0);
      if (op.kind === "send" || op.kind === "recv") {
        if (op.group !== group) {
          group = op.group;
          groupBegan = arrived;
          previous = arrived;
        }
        busyUs[row] = tokens / 8 + rank;
        beginUs[row] = groupBegan;
        arrived = Math.max(arrived, groupBegan + busyUs[row]);
        endUs[row] = arrived;
        continue;
      }
      const [q, k] = op.blocks;
      const tile = { qBegin: q.tokenBegin, qEnd: q.tokenEnd, kBegin: k?.tokenBegin ?? 0, kEnd: k?.tokenEnd ?? 1 };
      busyUs[row] = op.kind === "attend" ? tileArea({ ...tile, mask: op.mask }) / 4000 + 1 : tokens / 50;
      beginUs[row] = Math.max(computed, previous);
      computed = beginUs[row] + busyUs[row];
      endUs[row] = computed;
    }
  }
  return { origin: "simulated", beginUs, endUs, busyUs, durationUs: Math.max(...endUs) };
}
