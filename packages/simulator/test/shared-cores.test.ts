import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { idle, SharedCores } from "../src/threads/shared-cores.ts";

/** Starts all jobs at once, and returns when each ends. */
function endsOf(cores: number, sliceUs: number, works: readonly number[]): number[] {
  const shared = new SharedCores(cores, sliceUs);
  works.forEach((work, job) => {
    shared.start(0, work, job);
  });
  const ends = works.map(() => Number.NaN);
  for (let now = shared.nextUs; now < Number.POSITIVE_INFINITY; now = shared.nextUs) {
    const job = shared.advance();
    if (job !== idle) ends[job] = now;
  }
  return ends;
}

describe("shared cores", () => {
  it("give every job a core as long as there are enough", () => {
    expect(endsOf(3, 10, [5, 70, 30])).toEqual([5, 70, 30]);
  });

  it("let jobs take turns where there are not", () => {
    // One core: a runs 10, b 10, a its last 5, b its last 10.
    expect(endsOf(1, 10, [15, 20])).toEqual([25, 35]);
  });

  it("leave a core idle at the end rather than divide a job", () => {
    // Three jobs of one slice each on two cores: the third runs alone.
    expect(endsOf(2, 10, [10, 10, 10])).toEqual([10, 10, 20]);
  });

  it("do all work, on no more cores than there are, and never rest while a job waits", () => {
    const works = fc.array(fc.integer({ min: 1, max: 400 }), { minLength: 1, maxLength: 12 });
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 5 }), fc.integer({ min: 3, max: 90 }), works, (cores, sliceUs, jobs) => {
        const last = Math.max(...endsOf(cores, sliceUs, jobs));
        const total = jobs.reduce((sum, work) => sum + work, 0);
        expect(last).toBeGreaterThanOrEqual(Math.max(total / cores, ...jobs) - 1e-6);
        // At the end, at most one job for each core is left, none longer than itself.
        expect(last).toBeLessThanOrEqual(total / cores + Math.max(...jobs) + 1e-6);
        expect(total).toBeLessThanOrEqual(cores * last + 1e-6);
      }),
    );
  });

  it("let a job that comes later run at once if the one before has had its slice", () => {
    const shared = new SharedCores(1, 10);
    shared.start(0, 100, 0);
    shared.start(50, 5, 1);
    expect(shared.nextUs).toBe(50);
    expect(shared.advance()).toBe(idle);
    expect(shared.nextUs).toBe(55);
    expect(shared.advance()).toBe(1);
  });
});
