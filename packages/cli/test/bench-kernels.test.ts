import { packedBatch } from "@hsap/workload";
import { describe, expect, test } from "vitest";
import { peerBytesLimit, peerBytesOf } from "../src/kernel-peer.ts";
import { hsap } from "./captured-run.ts";

describe("hsap bench kernels", () => {
  test("prints JSON with stable names: a row for every case, the peaks and the copy bandwidth", async () => {
    const { exitCode, out } = await hsap(
      "bench kernels --json --isa scalar --dtype fp32,bf16 --head-dim 64,80 --mask full,causal --tokens 24,7 --repeats 1",
    );
    const report = JSON.parse(out);
    expect(exitCode).toBe(0);
    expect(report.copyBandwidthGBps).toBeGreaterThan(0);
    expect(report.peaks.map(({ isa, dtype }: Row) => `${isa} ${dtype}`)).toEqual(["scalar fp32", "scalar bf16"]);
    const names = [
      "dtype",
      "error",
      "gflops",
      "headDim",
      "isa",
      "mask",
      "mix",
      "pass",
      "peer",
      "shareOfPeak",
      "tokens",
    ];
    for (const row of report.rows) {
      expect(Object.keys(row).sort()).toEqual(names);
      expect(row.gflops).toBeGreaterThan(0);
      expect(row.shareOfPeak).toBeGreaterThan(0);
      expect(row.error).toBeLessThan(row.dtype === "fp32" ? 3e-6 : 1e-2);
      expect([row.mix, row.peer]).toEqual(["single", null]);
    }
    const cases = new Set(
      report.rows.map((row: Row) => [row.dtype, row.headDim, row.mask, row.pass, row.tokens].join()),
    );
    expect(cases.size).toBe(2 * 2 * 2 * 2 * 2);
    expect(report.rows.length).toBe(cases.size);
  });

  test("measures packs and mixes by their names, cut to 8192 tokens", async () => {
    const { out } = await hsap(
      "bench kernels --json --isa scalar --head-dim 8 --pass forward --pack instruct-8 --mix instruct --repeats 1",
    );
    const rows = JSON.parse(out).rows.map(({ mix, tokens }: Row) => [mix, tokens]);
    expect(rows).toEqual([
      ["instruct-8", 8192],
      ["instruct", 8192],
    ]);
  });

  test("keeps as many tokens of packs and mixes as asked for", async () => {
    const { out } = await hsap(
      "bench kernels --json --isa scalar --head-dim 8 --pass forward --pack code-8 --mix chat --pack-tokens 700 --repeats 1",
    );
    expect(JSON.parse(out).rows.map(({ tokens }: Row) => tokens)).toEqual([700, 700]);
  });

  test("measures query heads that share key and value heads, by the work of all of them", async () => {
    const { exitCode, out } = await hsap(
      "bench kernels --json --isa scalar --head-dim 16 --heads 6 --kv-heads 2 --tokens 40 --repeats 1",
    );
    const report = JSON.parse(out);
    expect([exitCode, report.heads, report.kvHeads]).toEqual([0, 6, 2]);
    for (const row of report.rows) expect(row.error).toBeLessThan(3e-6);
  });

  test("shows a person the peak, the share of it and the error", async () => {
    const { exitCode, out } = await hsap("bench kernels --isa scalar --head-dim 64 --tokens 16 --repeats 1");
    expect(exitCode).toBe(0);
    expect(out).toMatch(/^# peak: scalar fp32 [\d.]+ GFLOP\/s/m);
    expect(out).toMatch(/\(GFLOP\/s\) +\(% of peak\) +\(rel\. L2\)/);
    expect(out).toMatch(/^ {2}scalar +fp32 +64 +causal +backward +16 +single +[\d.]+ +[\d.]+ +\d\.\de-\d$/m);
    expect(out).toMatch(/^# 2 cases$/m);
  });

  test.each([
    ["--isa sse", /unknown isa: sse \(must be scalar or avx2/],
    ["--dtype fp16", /unknown dtype: fp16/],
    ["--mask full,window", /unknown mask: window/],
    ["--pass both", /unknown pass: both/],
    ["--tokens 12,x", /invalid tokens: x/],
    ["--head-dim 0", /invalid head-dim: 0/],
    ["--mix chat --pack-tokens 1e3", /invalid pack-tokens: 1e3/],
    ["--pack nothing", /unknown pack: nothing/],
    ["--heads 3 --kv-heads 2", /invalid kvHeads: 2 \(must divide 3 heads\)/],
    ["--peer torch", /unknown peer: torch \(must be onnxruntime\)/],
  ])("refuses %s in one line", async (options, message) => {
    const { exitCode, out, err } = await hsap(`bench kernels ${options}`);
    expect([exitCode, out]).toEqual([2, ""]);
    expect(err).toMatch(message);
    expect(err.split("\n").length).toBe(2);
  });

  test("leaves the peer out where its rectangle of tokens does not fit in memory", () => {
    const problem = (tokens: number) =>
      ({
        mix: "single",
        batch: packedBatch([tokens]),
        mask: "full",
        shape: { heads: 1, kvHeads: 1, headDim: 64 },
      }) as const;
    expect(peerBytesOf(problem(8192))).toBeLessThan(peerBytesLimit);
    expect(peerBytesOf(problem(16384))).toBeGreaterThan(peerBytesLimit);
  });
});

type Row = Readonly<Record<string, string | number | null>>;
