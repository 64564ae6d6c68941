import { clusterOf } from "@hsap/cluster";
import { layoutOf, lower, type Pass, type Problem, type Schedule, ScheduleBuilder } from "@hsap/schedule";
import { packedBatch } from "@hsap/workload";
import { describe, expect, it } from "vitest";
import { simulate, simulateThreads } from "../src/index.ts";
import { idealHardware } from "./plain-hardware.ts";
import { machineOf } from "./thread-machine.ts";

const shape = { heads: 1, kvHeads: 1, headDim: 64, dtype: "fp32" } as const;

function builderOf(lengths: readonly number[], pass: Pass = "forward"): ScheduleBuilder {
  const ranks = lengths.length;
  const cluster = clusterOf({ ranks, ranksPerNode: ranks });
  const problem: Problem = { batch: packedBatch(lengths), shape, cluster, mask: "causal", pass };
  const { cuSeqlens } = problem.batch;
  const owned = lengths.map((_, rank) => [{ begin: cuSeqlens[rank], end: cuSeqlens[rank + 1] }]);
  return new ScheduleBuilder(problem, "test", {}, layoutOf(owned));
}

/** Every rank computes its own document, in 1 us for each strip of 12 rows. */
function alone(lengths: readonly number[]): Schedule {
  const builder = builderOf(lengths);
  let begin = 0;
  lengths.forEach((length, rank) => {
    builder
      .rank(rank)
      .attend({ qBegin: begin, qEnd: begin + length, kBegin: begin, kEnd: begin + length, mask: "causal" });
    begin += length;
  });
  return builder.finish();
}

const perStrip = { attendForward: { strip: 1000 } };

/** Rank 0 hands over `tokens` rows of k, which rank 1 attends to. */
function handOver(tokens: number, changed: boolean): Schedule {
  const builder = builderOf([tokens, 12]);
  const [k, q] = [
    { begin: 0, end: tokens },
    { begin: tokens, end: tokens + 12 },
  ];
  // What an op has written may change again, so it has to be copied.
  if (changed)
    builder.rank(0).attend({ qBegin: 0, qEnd: tokens, kBegin: 0, kEnd: tokens, mask: "causal" }, { part: 1 });
  const blocks = [changed ? builder.block("o", k, undefined, 1) : builder.block("k", k)];
  builder.rank(0).exchange("p2p", [{ to: 1, blocks }]);
  builder.rank(1).exchange("p2p", [{ from: 0, blocks }]);
  if (changed) builder.rank(1).reduce(builder.block("o", k, undefined, 2), ...blocks);
  builder.rank(1).attend({ qBegin: q.begin, qEnd: q.end, kBegin: q.begin, kEnd: q.end, mask: "causal" });
  return builder.finish();
}

describe("threads of one machine", () => {
  it("take as long as the longest rank where there is a core for each", () => {
    const { trace, kernel } = simulateThreads(alone([120, 12, 24]), machineOf({ cores: 3, ns: perStrip }));
    expect(trace.durationUs).toBeCloseTo(10, 9);
    expect(trace.origin).toBe("simulated");
    expect(kernel).toBe("threads");
  });

  it("take as long as all work divided by the cores where ranks are many and alike", () => {
    const { trace } = simulateThreads(alone([120, 120, 120, 120]), machineOf({ cores: 2, ns: perStrip }));
    expect(trace.durationUs).toBeCloseTo(20, 9);
  });

  it("hand over what never changes as a pointer, and copy the rest on the receiver's core", () => {
    const ns = { group: { byte: 10 } };
    const still = simulateThreads(handOver(100, false), machineOf({ ns }));
    const copied = simulateThreads(handOver(100, true), machineOf({ ns }));
    expect(still.trace.durationUs).toBeCloseTo(0, 9);
    // 100 rows of 64 elements of 4 bytes, 10 ns each.
    expect(copied.trace.durationUs).toBeCloseTo(256, 9);
  });

  it("wake a sleeping receiver only a moment after it was notified", () => {
    const { trace } = simulateThreads(handOver(24, true), machineOf({ wakeUs: 7, ns: perStrip }));
    // The lane that sends wakes when 2 strips are done, the receiver after it, and the computation that waits for it.
    expect(trace.durationUs).toBeGreaterThanOrEqual(2 + 3 * 7);
    expect(trace.durationUs).toBeLessThan(2 + 3 * 7 + 2 + 7);
  });

  it("never let a lane do two things at once, nor an op run faster than its own work", () => {
    const schedule = alone([48, 500, 36, 240, 7]);
    const { trace } = simulateThreads(schedule, machineOf({ cores: 2, sliceUs: 3, ns: perStrip }));
    const work = [...trace.busyUs].reduce((sum, us) => sum + us, 0);
    expect(trace.durationUs).toBeGreaterThanOrEqual(work / 2 - 1e-9);
    for (let op = 0; op < trace.busyUs.length; op++)
      expect(trace.endUs[op] - trace.beginUs[op]).toBeGreaterThanOrEqual(trace.busyUs[op] - 1e-9);
  });

  it("divide each rank's step into computing, exposed communication and waiting", () => {
    const { perRank, trace } = simulateThreads(
      handOver(60, true),
      machineOf({ wakeUs: 2, ns: { ...perStrip, group: { byte: 1 } } }),
    );
    for (const { computingUs, exposedCommunicationUs, waitingUs } of perRank)
      expect(computingUs + exposedCommunicationUs + waitingUs).toBeCloseTo(trace.durationUs, 9);
  });

  it("are what a hardware file with threads predicts, unless a kernel is named or computation was measured", () => {
    const schedule = alone([120, 120]);
    const hardware = { ...idealHardware(), threads: machineOf({ cores: 1, ns: perStrip }) };
    expect(simulate(schedule, { hardware }).trace.durationUs).toBeCloseTo(20, 9);
    expect(simulate(schedule, { hardware, kernel: "ideal" }).kernel).toBe("ideal");
    const measuredUs = Float64Array.of(3, 4);
    expect(simulate(schedule, { hardware, measuredUs }).trace.durationUs).toBeCloseTo(4, 9);
  });

  it("refuse what they were not measured for", () => {
    const schedule = alone([12]);
    const bf16: Schedule = {
      ...schedule,
      problem: { ...schedule.problem, shape: { ...shape, dtype: "bf16" } },
    };
    expect(() => simulateThreads(bf16, machineOf({}), lower(schedule))).toThrow(/no bf16 in this profile/);
  });
});
