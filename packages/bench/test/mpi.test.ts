import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
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

  it("move collectives by MPI's own, over communicators that are made once, and the rest as batches", async ({
    skip,
  }) => {
    if (reason !== undefined) return skip(reason);
    const folder = mkdtempSync(join(tmpdir(), "hsap-calls-"));
    try {
      const [source, counter] = [fileURLToPath(new URL("mpi-calls.c", import.meta.url)), join(folder, "calls.so")];
      const { error, stderr } = spawnSync("mpicc", ["-shared", "-fPIC", "-o", counter, source], { encoding: "utf8" });
      if (error !== undefined) return skip("no mpicc to build what counts calls of MPI");
      expect(stderr).toBe("");
      const { out, err } = await startRanks(4, "bits", ["env", `LD_PRELOAD=${counter}`]);
      const { runs } = JSON.parse(out[0]);
      const calls = err
        .flatMap((line) => /^calls (\{.*\})$/.exec(line)?.slice(1) ?? [])
        .map((text) => JSON.parse(text));
      expect(calls.map(({ rank }) => rank).sort()).toEqual([0, 1, 2, 3]);
      for (const { allGathers, allToAlls, isends, communicators } of calls) {
        expect(allGathers).toBeGreaterThan(0);
        expect(allToAlls).toBeGreaterThan(runs / 2);
        expect(isends).toBeGreaterThan(runs);
        // All ranks, and those of a node.
        expect(communicators).toBe(2);
      }
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

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
