import { mkdtempSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { packProblem, replayProblem } from "@hsap/bench";
import { expect, it } from "vitest";
import { hsap } from "./captured-run.ts";

it("replays runs of this machine on modelled links, with intervals, as a page", async () => {
  const page = join(mkdtempSync(join(tmpdir(), "hsap-replayed-")), "page.md");
  const { exitCode } = await hsap(
    `compare --packs --replay --pack code-8 --strategy ring --pass forward --repeats 2 --out ${page}`,
  );
  expect(exitCode).toBe(0);
  const text = readFileSync(page, "utf8");
  expect(text).toContain("Everything here is *replayed*");
  expect(text).toMatch(
    /^\| `ring` \| ring=8 \| [\d.]+ \| [\d.]+ \| [\d.]+ \([\d.]+ to [\d.]+\) \| 0\.00 \| right \|$/m,
  );
  expect(text).toMatch(/^\| `hsap` \| ulysses=\d,sap=\d \| [\d.]+ \| [\d.]+ \| {2}\| 0\.00 \| right \|$/m);
});

it("slows links down so that they take the share of a step that they take for the whole pack", () => {
  const [whole, small] = [packProblem("single-16"), replayProblem("single-16", "forward")];
  expect(small.batch.cuSeqlens[1]).toBe(whole.batch.cuSeqlens[1] / 32);
  const bytesOfKeys = (of: typeof whole, bytes: number) => of.batch.cuSeqlens[1] * of.shape.headDim * bytes;
  const linkUs = (of: typeof whole, bytes: number) => bytesOfKeys(of, bytes) / of.cluster.levels[1].bandwidthGBps;
  // Both levels, bandwidth as latency, by the same factor.
  const slower = small.cluster.levels[1].latencyUs / whole.cluster.levels[1].latencyUs;
  expect(linkUs(small, 4) / linkUs(whole, 2)).toBeCloseTo(slower, 9);
  expect(small.cluster.levels[0].latencyUs / whole.cluster.levels[0].latencyUs).toBeCloseTo(slower, 9);
});

it("replays packs only", async () => {
  const { exitCode, err } = await hsap("compare --replay --docs 64");
  expect([exitCode, err]).toEqual([2, "hsap: missing packs: --replay (of one problem: hsap simulate --replay)\n"]);
});
