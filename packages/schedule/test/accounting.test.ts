import { tokensOf } from "@hsap/workload";
import { describe, expect, it } from "vitest";
import { accountOf, areaOf, kvBytesOf, spreadOf, tileMasks } from "../src/index.ts";
import { smallProblem, smallRing } from "./small-ring.ts";

describe("accountOf", () => {
  it("counts (P-1)/P of all keys and values for a ring of equal shares", () => {
    const problem = smallProblem({ lengths: [64], ranks: 4, ranksPerNode: 2 });
    const { receivedBytes } = accountOf(smallRing(problem));
    expect(receivedBytes.max).toBe((3 / 4) * kvBytesOf(problem));
    expect(receivedBytes.total).toBe(3 * kvBytesOf(problem));
    expect(receivedBytes.balance).toBe(1);
  });

  it("halves the bytes in bf16", () => {
    const bytes = (dtype: "fp32" | "bf16") =>
      accountOf(smallRing(smallProblem({ lengths: [40, 8], ranks: 3, shape: { dtype } }))).receivedBytes.total;
    expect(bytes("bf16")).toBe(bytes("fp32") / 2);
  });

  it("tells bytes between nodes from bytes inside", () => {
    const problem = smallProblem({ lengths: [64], ranks: 4, ranksPerNode: 2 });
    const { bytesByLevel, betweenNodesBytes, receivedBytes } = accountOf(smallRing(problem));
    // Ranks 0 and 2 receive from the other node, 1 and 3 from their own.
    expect(bytesByLevel).toEqual([receivedBytes.total / 2, receivedBytes.total / 2]);
    expect(betweenNodesBytes).toBe(receivedBytes.total / 2);
  });

  it("counts the unmasked pairs of fused tiles: all of the batch, once for each head", () => {
    for (const pass of ["forward", "backward"] as const) {
      const problem = smallProblem({ lengths: [5, 30, 1, 12], ranks: 3, pass });
      expect(accountOf(smallRing(problem)).area.total).toBe(areaOf(problem) * 4);
    }
  });

  it("shows the causal imbalance of a contiguous ring: the last rank has (2P-1)/P of the mean, but for the diagonal", () => {
    const tokens = 4096;
    const { area } = accountOf(smallRing(smallProblem({ lengths: [tokens], ranks: 4 })));
    expect(area.balance).toBeCloseTo(7 / 4, 2);
    expect(area.max).toBe(4 * ((tokens / 4) * (3 * (tokens / 4)) + ((tokens / 4) * (tokens / 4 + 1)) / 2));
  });

  it("counts the whole rectangle of an unfused tile, whatever its mask", () => {
    const schedule = smallRing(smallProblem({ lengths: [16], ranks: 1 }));
    const score = { ...schedule, ops: { ...schedule.ops, kind: Uint8Array.of(6), attribute: Uint8Array.of(2) } };
    expect(tileMasks[2]).toBe("document");
    expect(accountOf(score).area.total).toBe(16 * 16 * 4);
  });

  it("counts tokens, groups and ops of each rank", () => {
    const problem = smallProblem({ lengths: [10], ranks: 3, mask: "full" });
    const { tokens, groups, ops } = accountOf(smallRing(problem));
    expect([...tokens.perRank]).toEqual([4, 3, 3]);
    expect(tokens.total).toBe(tokensOf(problem.batch));
    expect([...groups.perRank]).toEqual([2, 2, 2]);
    expect([...ops.perRank]).toEqual([7, 7, 7]);
  });
});

describe("spreadOf", () => {
  it("calls nothing at all perfectly balanced", () => {
    expect(spreadOf(new Float64Array(3)).balance).toBe(1);
  });
});
