import { clusterOf } from "@hsap/cluster";
import type { Problem } from "@hsap/schedule";
import { packedBatch } from "@hsap/workload";
import { describe, expect, test } from "vitest";
import { contaminationOf } from "../src/verification/contamination-probe.ts";

/** Three documents of 2, 1 and 3 tokens; o is [2 heads][6 tokens][2], lse [2][6][1]. */
const problem: Problem = {
  batch: packedBatch([2, 1, 3]),
  shape: { heads: 2, kvHeads: 1, headDim: 2, dtype: "fp32" },
  cluster: clusterOf({ ranks: 1 }),
  mask: "causal",
  pass: "forward",
};
const outputs = () => ({ o: new Float32Array(2 * 6 * 2), lse: new Float32Array(2 * 6) });

describe("the contamination probe", () => {
  test("finds nothing where only the perturbed document changed", () => {
    const after = outputs();
    after.o[(6 + 2) * 2] = 1; // head 1, token 2: document 1
    expect(contaminationOf(problem, 1, outputs(), after)).toEqual({ documents: [], rows: 0, effective: true });
  });

  test("counts every row of another document that changed, in any tensor and head", () => {
    const after = outputs();
    after.o[(6 + 2) * 2] = 1;
    after.o[0] = 1; // head 0, token 0: document 0
    after.o[1] = 1; // the same row
    after.lse[6 + 1] = 1; // head 1, token 1: document 0
    after.lse[5] = 1; // head 0, token 5: document 2
    expect(contaminationOf(problem, 1, outputs(), after)).toEqual({ documents: [0, 2], rows: 3, effective: true });
  });

  test("says when the perturbation changed nothing at all", () => {
    expect(contaminationOf(problem, 0, outputs(), outputs()).effective).toBe(false);
  });

  test("compares bits: a zero of another sign is a change, the same NaN is none", () => {
    const before = outputs();
    const after = outputs();
    before.o[0] = Number.NaN;
    after.o[0] = Number.NaN;
    expect(contaminationOf(problem, 2, before, after).documents).toEqual([]);
    after.o[2] = -0;
    expect(contaminationOf(problem, 2, before, after).documents).toEqual([0]);
  });
});
