import { decodeTables, lower } from "@hsap/schedule";
import { describe, expect, it } from "vitest";
import { encodeProgram } from "../src/index.ts";
import { ringByHand, smallProblem } from "./ring-by-hand.ts";

describe("encodeProgram", () => {
  it("stores every column of the lowered schedule, the shape and the documents", () => {
    const problem = smallProblem({ lengths: [5, 9], ranks: 2, pass: "backward", dtype: "bf16" });
    const lowered = lower(ringByHand(problem));
    const { tables } = decodeTables(encodeProgram(problem, lowered));
    const { problem: written, ...rest } = tables;
    expect(rest).toEqual(lowered);
    expect(written).toEqual({
      shape: Int32Array.of(4, 2, 64, 1, 1, 1), // heads, kvHeads, headDim, bf16, causal, backward
      cuSeqlens: Int32Array.of(0, 5, 14),
    });
  });
});
