import { readFileSync } from "node:fs";
import { hostname } from "node:os";
import { describe, expect, it } from "vitest";
import { whyNoMpi } from "../src/launch/usable-mpi.ts";
import { startRanks, startRanksInto } from "./mpi-job.ts";

/** These start ranks as a user does, so they need what set-up builds. */
const reason = whyNoMpi();

describe("ranks that are processes", { timeout: 180_000 }, () => {
  // On 4 ranks it is a case of conformance.test.ts.
  it.for([2, 8])(
    "give the bits of threads: every strategy, both passes, fp32 and bf16, on %i",
    async (ranks, { skip }) => {
      if (reason !== undefined) return skip(reason);
      const { out } = await startRanks(ranks, "bits");
      const report = JSON.parse(out[0]);
      expect(report).toMatchObject({ ranks, different: [] });
      // All strategies but the reference, which has one rank.
      expect(report.runs).toBeGreaterThanOrEqual(2 * 2 * 11);
    },
  );

  it("that compile another schedule are named before anything runs", async ({ skip }) => {
    if (reason !== undefined) return skip(reason);
    await expect(startRanks(2, "disagreement")).rejects.toThrow(
      `rank 0 on ${hostname()}: rank 1 on ${hostname()} compiled another schedule of ring (forward) than rank 0 on ${hostname()} (is the same code installed on every node?)`,
    );
  });

  it("all end when one of them fails, in one error that names it, its host and its op", async ({ skip }) => {
    if (reason !== undefined) return skip(reason);
    const said = { out: [] as string[], err: [] as string[] };
    await expect(startRanksInto(said, 4, "fault")).rejects.toThrow(
      new RegExp(`^rank 1 on ${hostname()}: rank 1, op 2 \\(\\w+\\) failed: injected fault$`),
    );
    const pids = said.err.flatMap((line) => /^pid (\d+)$/.exec(line)?.[1] ?? []);
    expect(pids.length).toBe(4);
    expect(pids.filter(isAlive)).toEqual([]);
  });
});

function isAlive(pid: string): boolean {
  try {
    return !/^State:\s*[ZX]/m.test(readFileSync(`/proc/${pid}/status`, "utf8"));
  } catch {
    return false;
  }
}
