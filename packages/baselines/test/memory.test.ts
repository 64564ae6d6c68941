import { type Degrees, type Pass, peakBytesOf, type Strategy } from "@hsap/schedule";
import { describe, expect, it } from "vitest";
import {
  allgather,
  colaiSp,
  dispatchGroupcast,
  hybridCp,
  loongtrain,
  reference,
  ring,
  striped,
  ulysses,
  usp,
  zigzag,
  zigzagPerDocument,
} from "../src/index.ts";
import { problemOf } from "./problems.ts";

/**
 * The most that any rank holds beyond its own rows of inputs and outputs, in pieces: a piece is what a rank owns of q. There are
 * as many kv heads as heads, and fp32 travels, so all pieces of q, k, v and their gradients are alike.
 */
function piecesBeyondOwn(strategy: Strategy, ranks: number, pass: Pass, degrees?: Degrees): number {
  const [tokens, heads, headDim] = [32, 16, 16];
  const sketch = { lengths: [tokens * ranks], ranks, heads, kvHeads: heads, headDim, dtype: "fp32" as const, pass };
  const problem = problemOf(sketch);
  const piece = tokens * heads * headDim * 4;
  const rows = tokens * heads * 4;
  const own = pass === "forward" ? 4 * piece + rows : 7 * piece + 2 * rows;
  const peak = peakBytesOf(strategy.compile(problem, degrees ?? strategy.defaultDegrees(problem)));
  return (Math.max(...peak) - own) / piece;
}

describe("peak memory beyond a rank's own rows", () => {
  it("is nothing on one rank", () => {
    for (const pass of ["forward", "backward"] as const) expect(piecesBeyondOwn(reference, 1, pass)).toBe(0);
  });

  it.each([ring, zigzag, zigzagPerDocument, striped, hybridCp])(
    "of $name is two pieces of k and v, and in the backward pass three of their gradients, for any P",
    (strategy) => {
      // Gradients are sent, received and computed at one time. Ring passes them on before it computes; pieces of stripes are uneven.
      const most = { ring: 8, striped: 10.5 }[strategy.name] ?? 10;
      for (const ranks of [4, 8, 16]) {
        expect(piecesBeyondOwn(strategy, ranks, "forward")).toBe(4);
        expect(piecesBeyondOwn(strategy, ranks, "backward")).toBeLessThanOrEqual(most);
      }
      expect(piecesBeyondOwn(strategy, 16, "backward")).toBe(most);
    },
  );

  it("of allgather is all keys and values, and in the backward pass their gradients and what comes from every other rank", () => {
    for (const ranks of [2, 4, 8, 16]) {
      expect(piecesBeyondOwn(allgather, ranks, "forward")).toBe(2 * (ranks - 1));
      expect(piecesBeyondOwn(allgather, ranks, "backward")).toBe(2 * (ranks - 1) + 2 * ranks + 2 * (ranks - 1));
    }
  });

  it("of ulysses is its own rows of others' heads: 4 (P-1)/P pieces", () => {
    for (const ranks of [2, 4, 8, 16]) {
      for (const pass of ["forward", "backward"] as const) {
        expect(piecesBeyondOwn(ulysses, ranks, pass)).toBe((4 * (ranks - 1)) / ranks);
      }
    }
  });

  it("of colai-sp grows with the sequence: scores, and in the backward pass keys and all gradients", () => {
    for (const ranks of [4, 8, 16]) {
      // A part of the scores has 32 columns where a row of q has 16, so each is two pieces.
      const scores = 2 * ranks;
      expect(piecesBeyondOwn(colaiSp, ranks, "forward")).toBe(scores + 3);
      expect(piecesBeyondOwn(colaiSp, ranks, "backward")).toBe(scores + 3 * ranks);
    }
  });

  it("of usp and loongtrain does not grow with the ring", () => {
    const ofUsp = (ring: number, pass: Pass) => piecesBeyondOwn(usp, 2 * ring, pass, { ulysses: 2, ring });
    const ofLoongtrain = (outer: number, pass: Pass) =>
      piecesBeyondOwn(loongtrain, 8 * outer, pass, { ulysses: 2, inner: 4, outer });
    for (const pass of ["forward", "backward"] as const) {
      expect(ofUsp(12, pass)).toBe(ofUsp(8, pass));
      expect(ofLoongtrain(8, pass)).toBe(ofLoongtrain(6, pass));
    }
  });

  it("of dispatch-groupcast is what the queries need: on one document, all keys and values", () => {
    for (const ranks of [2, 4, 8, 16])
      expect(piecesBeyondOwn(dispatchGroupcast, ranks, "forward")).toBe(2 * (ranks - 1));
  });
});
