import { areaOf, kvBytesOf, qoBytesOf } from "@hsap/schedule";
import { describe, expect, it } from "vitest";
import {
  balancedBoundBytes,
  computeFloorMs,
  documentBoundBytes,
  ring,
  slowLinkBoundBytes,
  zigzag,
} from "../src/index.ts";
import { problemOf, receivedBytes } from "./problems.ts";

const shape = { heads: 64, kvHeads: 8, headDim: 128, dtype: "bf16" } as const;

describe("documentBoundBytes", () => {
  it("is 2N sqrt(c_qo c_kv / 2P) - (N/P)(c_qo + c_kv)", () => {
    // c_qo = 2 * 64 * 128 * 2 = 32768, c_kv = 2 * 8 * 128 * 2 = 4096; N = 65536, P = 32: the root is 1448.1546...
    const bytes = documentBoundBytes({ length: 65536, parts: 32, shape, mask: "causal", pass: "forward" });
    expect(bytes).toBeCloseTo(2 * 65536 * Math.sqrt((32768 * 4096) / 64) - 2048 * 36864, 3);
    expect(bytes / 2 ** 20).toBeCloseTo(109.02, 2);
  });

  it("is 0 for one part, which owns all it touches", () => {
    expect(documentBoundBytes({ length: 100, parts: 1, shape, mask: "causal", pass: "forward" })).toBe(0);
  });

  it("falls with the root of P", () => {
    const bytes = (parts: number) =>
      documentBoundBytes({ length: 2 ** 20, parts, shape, mask: "causal", pass: "forward" });
    expect(bytes(4096) / bytes(16384)).toBeCloseTo(2, 1);
  });

  it("counts three tensors of queries and four of keys in the backward pass", () => {
    const one = { heads: 1, kvHeads: 1, headDim: 1, dtype: "fp32" } as const;
    const bytes = documentBoundBytes({ length: 100, parts: 4, shape: one, mask: "full", pass: "backward" });
    expect(bytes).toBeCloseTo(2 * 100 * Math.sqrt((12 * 16) / 4) - 25 * 28, 9);
  });
});

describe("balancedBoundBytes", () => {
  it("is the document's bound for a pack of one document", () => {
    for (const pass of ["forward", "backward"] as const) {
      const problem = problemOf({ lengths: [4096], ranks: 16, heads: 32, kvHeads: 4, headDim: 64, pass });
      const spread = { length: 4096, parts: 16, shape: problem.shape, mask: problem.mask, pass };
      expect(balancedBoundBytes(problem)).toBeCloseTo(documentBoundBytes(spread), 6);
    }
  });

  it("is 0 where every rank can have a document of its own", () => {
    expect(balancedBoundBytes(problemOf({ lengths: [64, 64, 64, 64], ranks: 4 }))).toBe(0);
  });

  it("is positive where a document is more than one rank's share, whatever else there is", () => {
    const long = problemOf({ lengths: [4096, ...Array(100).fill(8)], ranks: 16, heads: 8, kvHeads: 8 });
    expect(balancedBoundBytes(long)).toBeGreaterThan(0);
  });

  it("is not above what a balanced schedule receives, heads unsplit", () => {
    for (const ranks of [2, 4, 8, 16]) {
      for (const pass of ["forward", "backward"] as const) {
        const problem = problemOf({ lengths: [ranks * 64], ranks, heads: 8, kvHeads: 2, pass });
        for (const strategy of [zigzag, ring]) {
          const received = receivedBytes(strategy.compile(problem, { ring: ranks }));
          expect(balancedBoundBytes(problem)).toBeLessThanOrEqual(received.reduce((a, b) => a + b) / ranks);
        }
      }
    }
  });
});

describe("slowLinkBoundBytes", () => {
  it("is the bound with nodes for ranks", () => {
    const many = problemOf({ lengths: [4096], ranks: 32, ranksPerNode: 8, heads: 8, kvHeads: 8 });
    const few = problemOf({ lengths: [4096], ranks: 4, heads: 8, kvHeads: 8 });
    expect(slowLinkBoundBytes(many)).toBe(balancedBoundBytes(few));
    // 2N sqrt(c*c / 8) - (N/4) 2c with c = c_qo = c_kv = QO / N.
    expect(slowLinkBoundBytes(many)).toBeCloseTo(qoBytesOf(few) * (1 / Math.sqrt(2) - 1 / 2), 3);
    expect(kvBytesOf(few)).toBe(qoBytesOf(few));
  });

  it("is 0 in one node", () => {
    expect(slowLinkBoundBytes(problemOf({ lengths: [4096], ranks: 8 }))).toBe(0);
  });
});

describe("computeFloorMs", () => {
  it("is area * 4 * heads * headDim / P / rate forward, and 2.5 times that backward", () => {
    const problem = problemOf({ lengths: [1000], ranks: 8, heads: 64, kvHeads: 8, headDim: 128 });
    const expected = (areaOf(problem) * 4 * 64 * 128) / 8 / 600e9;
    expect(computeFloorMs(problem, 600)).toBeCloseTo(expected, 12);
    expect(computeFloorMs({ ...problem, pass: "backward" }, 600)).toBeCloseTo(2.5 * expected, 12);
  });
});
