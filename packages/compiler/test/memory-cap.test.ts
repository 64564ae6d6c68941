import { clusterOf, presetCluster } from "@hsap/cluster";
import { type Problem, peakBytesOf, type Schedule, verify } from "@hsap/schedule";
import { InputError, packedBatch } from "@hsap/workload";
import { describe, expect, it } from "vitest";
import { compileUnderCap, hsap } from "../src/index.ts";

const problem: Problem = {
  batch: packedBatch([60000, 3000, 2000, 536]),
  shape: { heads: 16, kvHeads: 8, headDim: 64, dtype: "bf16" },
  cluster: clusterOf({ ranks: 16, ranksPerNode: 2, from: presetCluster("h100-400g") }),
  mask: "causal",
  pass: "forward",
};

const peakBytes = (schedule: Schedule) => Math.max(...peakBytesOf(schedule));

describe("a memory cap", () => {
  const free = hsap.compile(problem, hsap.defaultDegrees(problem));

  it("changes nothing where the fastest schedule fits", () => {
    const capped = compileUnderCap(problem, undefined, {}, peakBytes(free));
    expect(capped.ops).toEqual(free.ops);
  });

  it("is kept by letting keys come in more rounds, or by other degrees", () => {
    const cap = Math.floor(0.98 * peakBytes(free));
    const capped = compileUnderCap(problem, undefined, {}, cap);
    expect(peakBytes(capped)).toBeLessThanOrEqual(cap);
    expect(verify(capped, { memoryCapBytes: cap })).toEqual([]);
  });

  it("that nothing fits is refused with the least that would", () => {
    const compileIn = (bytes: number) => compileUnderCap(problem, undefined, {}, bytes);
    const refused =
      /^invalid memory-cap: 1000 bytes \(the least that fits is (\d+), with ulysses=\d+, keys in \d+ rounds?\)$/;
    let message = "";
    try {
      compileIn(1000);
    } catch (error) {
      expect(error).toBeInstanceOf(InputError);
      ({ message } = error as Error);
    }
    expect(message).toMatch(refused);
    const least = Number(refused.exec(message)?.[1]);
    expect(peakBytes(compileIn(least))).toBe(least);
    expect(() => compileIn(least - 1)).toThrow(InputError);
  });
});
