import { readFileSync } from "node:fs";
import { presetCluster } from "@hsap/cluster";
import type { Pass, Tile } from "@hsap/schedule";
import { describe, expect, it } from "vitest";
import { hardwareOf, kernelTflops } from "../src/index.ts";

const cluster = presetCluster("h100-400g");
const hardware = hardwareOf(cluster);
const rows = readFileSync(new URL("../data/attention-kernel-rates.csv", import.meta.url), "utf8")
  .split("\n")
  .filter((line) => line !== "" && !line.startsWith("#"))
  .slice(1)
  .map((line) => {
    const [kernel, mask, pass, tokens, tflops] = line.split(",");
    return { kernel, mask, pass: pass as Pass, tokens: Number(tokens), tflops: Number(tflops) };
  });

/** Predicted rate of a kernel on documents of the given lengths, relative to the published one. */
function ratio(kernel: string, pass: Pass, lengths: readonly number[], tflops: number): number {
  let begin = 0;
  const tiles = lengths.map((length): Tile => {
    const tile = { qBegin: begin, qEnd: begin + length, kBegin: begin, kEnd: begin + length, mask: "causal" as const };
    begin += length;
    return tile;
  });
  const area = lengths.reduce((sum, length) => sum + (length * (length + 1)) / 2, 0);
  return kernelTflops({ tiles, heads: 64, headDim: 128, pass }, hardware.kernels[kernel], cluster, area) / tflops;
}

describe("the model of kernels", () => {
  it("predicts FlashAttention-2 by document length from 128 to 16k tokens within 10 %", () => {
    const published = rows.filter(({ mask, tokens }) => mask === "by-document" && tokens >= 128);
    expect(published).toHaveLength(8);
    for (const { kernel, pass, tokens, tflops } of published) {
      const lengths = new Array<number>(32768 / tokens).fill(tokens);
      expect(Math.abs(ratio(kernel, pass, lengths, tflops) - 1), `${tokens} tokens`).toBeLessThan(0.1);
    }
  });

  it("predicts FlashAttention-3 on one causal document from 8k tokens within 12 %, forward and backward", () => {
    const published = rows.filter(({ mask, tokens }) => mask === "causal" && tokens >= 8192);
    expect(published).toHaveLength(6);
    for (const { kernel, pass, tokens, tflops } of published)
      expect(Math.abs(ratio(kernel, pass, [tokens], tflops) - 1), `${pass}, ${tokens} tokens`).toBeLessThan(0.12);
  });

  it("has rates fall with the length of documents, in every kernel and pass", () => {
    for (const kernel of Object.keys(hardware.kernels)) {
      for (const pass of ["forward", "backward"] as const) {
        const rates = [64, 256, 1024, 4096, 16384].map((tokens) =>
          ratio(kernel, pass, new Array<number>(32768 / tokens).fill(tokens), 1),
        );
        for (let i = 1; i < rates.length; i++) expect(rates[i], `${kernel} ${pass}`).toBeGreaterThan(rates[i - 1]);
      }
    }
  });

  it("computes as fast whether callers copy around a call or not", () => {
    const [own, copying] = ["flash-attention-3", "flash-attention-3-unpadded"].map((name) => hardware.kernels[name]);
    for (const pass of ["forward", "backward"] as const) {
      const rate = (kernel: typeof own) => [
        kernel[pass].shareOfPeak,
        kernel[pass].overheadTokens,
        kernel[pass].emptyBlockUs,
      ];
      expect(rate(copying)).toEqual(rate(own));
    }
  });
});
