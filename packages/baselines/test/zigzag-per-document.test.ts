import { accountOf, kvBytesOf, type Problem } from "@hsap/schedule";
import { lengthsOf, tokensOf } from "@hsap/workload";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { paddedToChunks, zigzagPerDocument } from "../src/index.ts";
import { anyProblem, problemOf, receivedBytes, ringBytes } from "./problems.ts";

const compile = (problem: Problem, pad = false) =>
  zigzagPerDocument.compile(problem, zigzagPerDocument.defaultDegrees(problem), { pad });

describe("zigzag-per-document", () => {
  it("gives rank r chunks r and 2P-1-r of every document", () => {
    expect(compile(problemOf({ lengths: [4, 8], ranks: 2 })).layout).toEqual([
      [
        { begin: 0, end: 1 },
        { begin: 3, end: 6 },
        { begin: 10, end: 12 },
      ],
      [
        { begin: 1, end: 3 },
        { begin: 6, end: 10 },
      ],
    ]);
  });

  it("receives (P-1)/P of all keys and values forward, and twice that backward, if chunks are equal", () => {
    for (const ranks of [1, 2, 3, 6, 8]) {
      for (const [pass, times] of [
        ["forward", 1],
        ["backward", 2],
      ] as const) {
        const problem = problemOf({ lengths: [2 * ranks * 3, 2 * ranks], ranks, pass });
        const expected = (times * (ranks - 1) * kvBytesOf(problem)) / ranks;
        expect(receivedBytes(compile(problem))).toEqual(Array(ranks).fill(expected));
      }
    }
  });

  it("receives all shards but its own, also if chunks differ", () => {
    fc.assert(
      fc.property(anyProblem(), (problem) => {
        const schedule = compile(problem);
        expect(receivedBytes(schedule)).toEqual(ringBytes(schedule));
      }),
      { numRuns: 50 },
    );
  });

  it("is balanced exactly, whatever the documents, if chunks are equal", () => {
    expect(accountOf(compile(problemOf({ lengths: [8, 64, 16, 8], ranks: 4 }))).area.balance).toBe(1);
  });

  it("computes and moves the padding of each document to 2P tokens, as published", () => {
    const problem = problemOf({ lengths: [9, 1, 16], ranks: 4 });
    const padded = compile(problem, true);
    expect([...lengthsOf(padded.problem.batch)]).toEqual([16, 8, 16]);
    expect(tokensOf(paddedToChunks(problem, 4).batch) - tokensOf(problem.batch)).toBe(14);
    expect(accountOf(padded).receivedBytes.mean).toBe((3 / 4) * kvBytesOf(padded.problem));
    expect(accountOf(padded).area.balance).toBe(1);
    expect(compile(problem).problem).toBe(problem);
  });
});
