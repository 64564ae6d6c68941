import { accountOf, kvBytesOf, programOf, type Schedule } from "@hsap/schedule";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ring } from "../src/index.ts";
import { anyProblem, problemOf, receivedBytes, ringBytes } from "./problems.ts";

const compile = (problem: Parameters<typeof ring.compile>[0]) => ring.compile(problem, ring.defaultDegrees(problem));

const attendsOf = (schedule: Schedule, rank: number) =>
  [...programOf(schedule, rank)].filter(({ kind }) => kind === "attend").length;

describe("ring", () => {
  it("receives (P-1)/P of all keys and values in the forward pass", () => {
    for (const ranks of [1, 2, 3, 6, 8, 12, 16]) {
      const problem = problemOf({ lengths: [ranks * 7, ranks * 5], ranks });
      const expected = ((ranks - 1) * kvBytesOf(problem)) / ranks;
      expect(receivedBytes(compile(problem))).toEqual(Array(ranks).fill(expected));
    }
  });

  it("receives twice that in the backward pass: gradients make P-1 hops, as keys and values do", () => {
    for (const ranks of [1, 2, 3, 6, 8, 12, 16]) {
      const problem = problemOf({ lengths: [ranks * 12], ranks, pass: "backward" });
      const expected = (2 * (ranks - 1) * kvBytesOf(problem)) / ranks;
      expect(receivedBytes(compile(problem))).toEqual(Array(ranks).fill(expected));
    }
  });

  it("receives every piece but its own, and every gradient but the one that starts with it, also if pieces differ", () => {
    fc.assert(
      fc.property(anyProblem(), (problem) => {
        const schedule = compile(problem);
        expect(receivedBytes(schedule)).toEqual(ringBytes(schedule));
      }),
    );
  });

  it("sends keys and values that nobody needs: as much for documents of one rank each as for one document", () => {
    const bytes = (lengths: number[]) => receivedBytes(compile(problemOf({ lengths, ranks: 4 })));
    expect(bytes([8, 8, 8, 8])).toEqual(bytes([32]));
  });

  it("gives the last rank ((2P-1)n + 1) / (Pn + 1) of the mean area on one causal document", () => {
    for (const [ranks, tokens] of [
      [2, 5],
      [4, 16],
      [8, 3],
      [16, 1],
    ]) {
      const problem = problemOf({ lengths: [ranks * tokens], ranks });
      const { balance } = accountOf(compile(problem)).area;
      expect(balance).toBeCloseTo(((2 * ranks - 1) * tokens + 1) / (ranks * tokens + 1), 12);
    }
  });

  it("gives the last rank 2P/(P+1) of the mean number of tiles on one causal document", () => {
    for (const ranks of [2, 3, 8]) {
      const schedule = compile(problemOf({ lengths: [ranks * 10], ranks }));
      const tiles = Array.from({ length: ranks }, (_, rank) => attendsOf(schedule, rank));
      expect(tiles).toEqual(tiles.map((_, rank) => rank + 1));
      expect((tiles[ranks - 1] * ranks) / tiles.reduce((a, b) => a + b)).toBeCloseTo((2 * ranks) / (ranks + 1), 12);
    }
  });

  it("has the next exchange before the tiles of what is here, so that they overlap", () => {
    const schedule = compile(problemOf({ lengths: [12], ranks: 3 }));
    const kinds = [...programOf(schedule, 2)].map(({ kind }) => kind);
    expect(kinds).toEqual(["send", "recv", "attend", "send", "recv", "attend", "attend"]);
  });
});
