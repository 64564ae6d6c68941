import { type Schedule, ScheduleBuilder, type Trace } from "@hsap/schedule";
import { evenLayout, problemOn } from "./op-samples.ts";

const documents = 400;
const tokens = 64;
/** A gap between two ops of a thread that is longer says that another one ran. */
const gapUs = 300;

/** Many ranks that compute small documents one by one, for some ten slices each. */
export function sliceSample(ranks: number): Schedule {
  const shape = { heads: 2, kvHeads: 1, headDim: 64, dtype: "fp32" } as const;
  const problem = problemOn(ranks, new Array<number>(ranks * documents).fill(tokens), shape, "forward");
  const builder = new ScheduleBuilder(problem, "sample", {}, evenLayout(ranks, documents * tokens));
  for (let document = 0; document < ranks * documents; document++) {
    const begin = document * tokens;
    const program = builder.rank(Math.floor(document / documents));
    program.attend({ qBegin: begin, qEnd: begin + tokens, kBegin: begin, kEnd: begin + tokens, mask: "causal" });
    // Tiles that follow each other run as one; what stands between them lets each be seen.
    program.reduce(builder.block("o", { begin, end: begin + 1 }, undefined, 1));
  }
  return builder.finish();
}

/** How long each thread ran until another one took its core, in microseconds; the last stretch of each does not count. */
export function turnsIn({ opBegin }: Schedule, { beginUs, endUs, busyUs }: Trace): number[] {
  const turns: number[] = [];
  for (let rank = 0; rank + 1 < opBegin.length; rank++) {
    let ranUs = 0;
    for (let op = opBegin[rank]; op < opBegin[rank + 1]; op++) {
      const before = op === opBegin[rank] ? beginUs[op] : endUs[op - 1];
      ranUs += busyUs[op];
      if (endUs[op] - before - busyUs[op] < gapUs) continue;
      turns.push(ranUs);
      ranUs = 0;
    }
  }
  return turns.length === 0 ? [Number.POSITIVE_INFINITY] : turns;
}
