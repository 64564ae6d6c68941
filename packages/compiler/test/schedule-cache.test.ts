import { clusterOf } from "@hsap/cluster";
import type { Problem } from "@hsap/schedule";
import { describe, expect, it } from "vitest";
import { hsap, ScheduleCache } from "../src/index.ts";
import { type ProblemOptions, problemOf } from "./problems.ts";

const base: ProblemOptions = { lengths: [40, 9, 30, 5], ranks: 4, ranksPerNode: 2, shape: { heads: 4, kvHeads: 4 } };

describe("the cache of schedules", () => {
  it("answers an equal request with the schedule that it has, and any other with a new one", () => {
    const cache = new ScheduleCache();
    const request = { problem: problemOf(base), degrees: { ulysses: 1, sap: 4 }, options: { shard: "balanced" } };
    const schedule = cache.compile(request);
    expect(schedule).toEqual(hsap.compile(request.problem, request.degrees, request.options));
    expect(cache.compile({ ...request, problem: problemOf(base) })).toBe(schedule);
    const others: (typeof request)[] = [
      { ...request, problem: problemOf({ ...base, lengths: [40, 9, 5, 30] }) },
      { ...request, problem: problemOf({ ...base, pass: "backward" }) },
      { ...request, problem: problemOf({ ...base, mask: "full" }) },
      { ...request, problem: problemOf({ ...base, ranksPerNode: 4 }) },
      { ...request, problem: problemOf({ ...base, shape: { heads: 8, kvHeads: 4 } }) },
      { ...request, problem: { ...request.problem, cluster: slower(request.problem) } },
      { ...request, degrees: { ulysses: 2, sap: 2 } },
      { ...request, options: { shard: "contiguous" } },
    ];
    for (const other of others) {
      const { problem, degrees, options } = other;
      expect(cache.find(other)).toBeUndefined();
      expect(cache.compile(other)).toEqual(hsap.compile(problem, degrees, options));
    }
    expect(cache.size).toBe(1 + others.length);
  });

  it("chooses degrees where none are given", () => {
    const cache = new ScheduleCache();
    const problem = problemOf(base);
    const schedule = cache.compile({ problem });
    expect(schedule.degrees).toEqual(hsap.defaultDegrees(problem));
    expect(cache.compile({ problem })).toBe(schedule);
  });

  it("is not disturbed by a caller that uses the memory of its batch again", () => {
    const cache = new ScheduleCache();
    const problem = problemOf(base);
    const schedule = cache.compile({ problem });
    problem.batch.cuSeqlens.set(problemOf({ ...base, lengths: [9, 40, 30, 5] }).batch.cuSeqlens);
    expect(schedule.problem).toEqual(problemOf(base));
    expect(cache.find({ problem })).toBeUndefined();
    expect(cache.compile({ problem: problemOf(base) })).toBe(schedule);
  });

  it("forgets the schedules used least recently beyond its bound, and keeps none that exceeds it alone", () => {
    const problems = [1, 2, 3, 4].map((last) => problemOf({ ...base, lengths: [40, 9, 30, last] }));
    const unbounded = new ScheduleCache();
    const bytes = problems.map((problem) => {
      const before = unbounded.bytes;
      unbounded.compile({ problem });
      return unbounded.bytes - before;
    });
    const cache = new ScheduleCache({ maxBytes: bytes[0] + bytes[2] + bytes[3] });
    for (const problem of problems.slice(0, 3)) cache.compile({ problem });
    const first = cache.compile({ problem: problems[0] });
    cache.compile({ problem: problems[3] });
    expect(cache.bytes).toBeLessThanOrEqual(cache.maxBytes);
    expect(problems.map((problem) => cache.find({ problem }) !== undefined)).toEqual([true, false, true, true]);
    expect(cache.compile({ problem: problems[0] })).toBe(first);
    const none = new ScheduleCache({ maxBytes: bytes[0] - 1 });
    none.compile({ problem: problems[0] });
    expect([none.size, none.bytes]).toEqual([0, 0]);
    cache.clear();
    expect([cache.size, cache.bytes]).toEqual([0, 0]);
    expect(() => new ScheduleCache({ maxBytes: -1 })).toThrow("invalid maxBytes: -1 (must be at least 0)");
  });
});

function slower({ cluster }: Problem) {
  const from = { ...cluster, levels: cluster.levels.map((level) => ({ ...level, latencyUs: level.latencyUs + 1 })) };
  return clusterOf({ ranks: cluster.ranks, ranksPerNode: 2, from });
}
