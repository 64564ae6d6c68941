import { documentAt } from "@hsap/workload";
import { opKinds, tileMasks } from "../op.ts";
import type { Schedule } from "../schedule.ts";
import { tileOf } from "./contributions.ts";
import type { FindingLog } from "./finding.ts";

/**
 * `contamination`: no tile computes a pair across a document border, nor a pair that the mask forbids. Only a `score` with the
 * `document` mask may cover such pairs, because it masks them itself.
 */
export function checkContamination(schedule: Schedule, log: FindingLog): void {
  const { ops, problem } = schedule;
  const [attend, score] = [opKinds.indexOf("attend"), opKinds.indexOf("score")];
  for (let row = 0; row < ops.kind.length; row++) {
    if (ops.kind[row] !== attend && ops.kind[row] !== score) continue;
    const mask = tileMasks[ops.attribute[row]];
    const block = ops.operands[ops.operandBegin[row] + 1];
    if (mask === "document") {
      if (ops.kind[row] === attend) log.add("contamination", { row, block }, "an attend tile cannot mask documents");
      continue;
    }
    const { qBegin, qEnd, kBegin, kEnd } = tileOf(schedule, row);
    // A causal tile computes no key after its last query, and no query before its first key.
    const lastKey = mask === "causal" ? Math.min(kEnd, qEnd) : kEnd;
    const firstQuery = mask === "causal" ? Math.max(qBegin, kBegin) : qBegin;
    if (kBegin >= lastKey || firstQuery >= qEnd) continue;
    const document = documentAt(problem.batch, Math.min(kBegin, firstQuery));
    const border = problem.batch.cuSeqlens[document + 1];
    if (Math.max(lastKey, qEnd) > border)
      log.add("contamination", { row, block }, `queries ${qBegin}:${qEnd} cross the document border ${border}`);
    else if (mask === "full" && problem.mask === "causal" && kEnd > qBegin + 1)
      log.add("contamination", { row, block }, `query ${qBegin} does not see keys after it (the tile is not masked)`);
  }
}
