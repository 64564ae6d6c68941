import { describe, expect, test } from "vitest";
import { hsap } from "./captured-run.ts";

describe("hsap bench simulate", () => {
  test("prints JSON with stable names: times of the first and of later calls, memory, and what is refused", async () => {
    const { exitCode, out } = await hsap("bench simulate --json --pack single-8 --strategy ring,reference --repeats 1");
    expect(exitCode).toBe(0);
    const { origin, rows, refused } = JSON.parse(out);
    expect(origin).toBe("measured");
    expect(rows).toHaveLength(1);
    expect(rows[0]).toMatchObject({ pack: "single-8", strategy: "ring", pass: "forward", ranks: 8 });
    expect(rows[0].cpuMs.first).toBeGreaterThan(0);
    expect(rows[0].cpuMs.warm).toBeGreaterThan(0);
    expect(rows[0].stepMs).toBeGreaterThan(0);
    expect(rows[0].peakMiB).toBeGreaterThan(10);
    expect(refused).toMatchObject([{ pack: "single-8", strategy: "reference" }]);
    expect(refused[0].reason).toMatch(/invalid ranks: 8/);
  });

  test.each([
    ["--pack nothing-8", /unknown pack: nothing-8/],
    ["--strategy rnig", /unknown strategy: rnig/],
    ["--repeats 0", /invalid repeats: 0/],
    ["--pass sideways", /unknown pass: sideways/],
  ])("refuses %s in one line", async (options, message) => {
    const { exitCode, out, err } = await hsap(`bench simulate ${options}`);
    expect([exitCode, out]).toEqual([2, ""]);
    expect(err).toMatch(message);
  });
});
