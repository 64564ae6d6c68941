import { describe, expect, it } from "vitest";
import { EngineError, type RunOptions, run } from "../src/index.ts";
import { ringByHand, type SmallProblem, smallProblem } from "./ring-by-hand.ts";

const problems: [string, Omit<SmallProblem, "pass">][] = [
  ["one document that is cut", { lengths: [1531], ranks: 1, heads: 4, kvHeads: 1, headDim: 80 }],
  ["documents beside each other", { lengths: [5, 65, 1, 890, 40, 333], ranks: 2, heads: 6, kvHeads: 3, headDim: 64 }],
  ["bf16", { lengths: [700, 3, 900], ranks: 3, heads: 2, kvHeads: 2, headDim: 128, dtype: "bf16" }],
  ["all pairs", { lengths: [900, 77], ranks: 2, heads: 3, kvHeads: 1, headDim: 24, mask: "full" }],
];

describe("threads", () => {
  it.each(problems)("1, 2, 3 and 5 a rank give the same bits: %s", async (_, given) => {
    const { outputs: saved } = await run(ringByHand(smallProblem({ ...given, pass: "forward" })));
    for (const pass of ["forward", "backward"] as const) {
      const schedule = ringByHand(smallProblem({ ...given, pass }));
      const one = await run(schedule, { saved });
      for (const threadsPerRank of [2, 3, 5]) {
        const { digest, threads } = await run(schedule, { saved, threadsPerRank });
        expect(digest).toBe(one.digest);
        expect(threads.perRank).toBe(threadsPerRank);
        expect(threads.computing).toBe(threadsPerRank * given.ranks);
        expect(threads.communicating).toBe(given.ranks > 1 ? given.ranks : 0);
      }
      const { digest, threads } = await run(schedule, { saved, threadsPerRank: 4, maxThreads: 2 });
      expect(digest).toBe(one.digest);
      expect(threads.perRank).toBe(Math.max(1, Math.floor(2 / given.ranks)));
    }
  });

  it("have a core each, or a reason why not", async () => {
    const schedule = ringByHand(smallProblem({ lengths: [40], ranks: 2, pass: "forward" }));
    const { threads } = await run(schedule);
    expect(threads.cores).toHaveLength(threads.unpinned === "" ? 2 : 0);
    expect(new Set(threads.cores).size).toBe(threads.cores.length);
    expect((await run(schedule, { pin: "none" })).threads).toMatchObject({ cores: [], unpinned: "not asked for" });
  });

  it("have their time added up, and every op a place within the run", async () => {
    const schedule = ringByHand(smallProblem({ lengths: [900, 1200], ranks: 2, pass: "forward" }));
    const { trace } = await run(schedule, { threadsPerRank: 3 });
    for (let row = 0; row < trace.beginUs.length; row++) {
      expect(trace.beginUs[row]).toBeGreaterThanOrEqual(0);
      expect(trace.endUs[row]).toBeGreaterThanOrEqual(trace.beginUs[row]);
      expect(trace.endUs[row]).toBeLessThanOrEqual(trace.durationUs);
    }
  });

  it.each([
    [{ threadsPerRank: 0 }, "invalid threadsPerRank: 0 (must be a whole number from 1 to 1024)"],
    [{ threadsPerRank: 1.5 }, "invalid threadsPerRank: 1.5"],
    [{ maxThreads: 0 }, "invalid maxThreads: 0"],
    [{ pin: "tight" as "auto" }, "invalid pin: tight (must be auto or none)"],
  ] as [RunOptions, string][])("of %j are refused", async (options, message) => {
    const schedule = ringByHand(smallProblem({ lengths: [40], ranks: 2, pass: "forward" }));
    const error = await run(schedule, options).catch((thrown) => thrown);
    expect(error).toBeInstanceOf(EngineError);
    expect(error.message).toContain(message);
  });
});
