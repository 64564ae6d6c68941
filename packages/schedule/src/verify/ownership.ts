import { tokensOf } from "@hsap/workload";
import { homeBlocks, type Schedule, worldSizeOf } from "../schedule.ts";
import { rowsOf } from "../tensor.ts";
import type { FindingLog } from "./finding.ts";
import { empty, Held } from "./held.ts";

/**
 * Part of `ownership`: each token has exactly one owner, each rank's ranges are sorted, and each row of an output has exactly one
 * home. The rest is checked by `checkOutputs`.
 */
export function checkLayout(schedule: Schedule, log: FindingLog): void {
  const ranks = worldSizeOf(schedule);
  if (schedule.layout.length !== ranks) {
    log.add("ownership", { rank: 0 }, `the layout has ${schedule.layout.length} ranks (must be ${ranks})`);
    return;
  }
  const tokens = tokensOf(schedule.problem.batch);
  const owned = schedule.layout.flatMap((ranges, rank) => {
    ranges.forEach(({ begin, end }, i) => {
      if (begin >= end || (i > 0 && begin < ranges[i - 1].end))
        log.add("ownership", { rank }, `range ${begin}:${end} (ranges must not be empty, and in order)`);
    });
    return ranges.map((range) => ({ ...range, rank }));
  });
  owned.sort((a, b) => a.begin - b.begin);
  let covered = 0;
  for (const { begin, end, rank } of owned) {
    if (begin < covered)
      log.add("ownership", { rank }, `tokens ${begin}:${Math.min(covered, end)} have another owner too`);
    if (begin > covered) log.add("ownership", { rank }, `tokens ${covered}:${begin} before its range have no owner`);
    covered = Math.max(covered, end);
  }
  if (covered !== tokens)
    log.add("ownership", { rank: ranks - 1 }, `the layout ends at token ${covered} (the batch has ${tokens})`);
  checkHomes(schedule, log);
}

function checkHomes(schedule: Schedule, log: FindingLog): void {
  for (const spec of schedule.tensors) {
    const { name, role, heads, rows } = spec;
    // Without resident blocks the home of a token is its owner.
    if (role !== "output" || (schedule.resident === undefined && rows === undefined)) continue;
    const homes = new Held();
    for (let rank = 0; rank < worldSizeOf(schedule); rank++) {
      for (const block of homeBlocks(schedule, rank, name)) {
        let isTaken = false;
        homes.read(block, (content) => {
          isTaken ||= content !== empty;
        });
        // A layer may keep copies of a value with several ranks, as of a kv head that several query heads read, or of a weight. The
        // gradient of a weight is updated in one place.
        if (isTaken && (schedule.equations === undefined || (rows !== undefined && spec.accumulates)))
          log.add("ownership", { rank, block }, "lies with another rank too");
        homes.assign(block, 1);
      }
    }
    const all = { tokenBegin: 0, tokenEnd: rowsOf(spec, schedule.problem), headBegin: 0, headEnd: heads };
    if (!homes.holdsOnly(all, 1))
      log.add("ownership", { rank: 0, block: { tensor: name, part: 0, ...all } }, "has rows that lie nowhere");
  }
}
