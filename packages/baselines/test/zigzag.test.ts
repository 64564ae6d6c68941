import { accountOf, kvBytesOf } from "@hsap/schedule";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { zigzag } from "../src/index.ts";
import { anyProblem, problemOf, receivedBytes, ringBytes } from "./problems.ts";

const compile = (problem: Parameters<typeof zigzag.compile>[0]) =>
  zigzag.compile(problem, zigzag.defaultDegrees(problem));

describe("zigzag", () => {
  it("gives rank r chunks r and 2P-1-r of 2P", () => {
    expect(compile(problemOf({ lengths: [12], ranks: 3 })).layout).toEqual([
      [
        { begin: 0, end: 2 },
        { begin: 10, end: 12 },
      ],
      [
        { begin: 2, end: 4 },
        { begin: 8, end: 10 },
      ],
      [{ begin: 4, end: 8 }],
    ]);
  });

  it("receives (P-1)/P of all keys and values forward, and twice that backward", () => {
    for (const ranks of [1, 2, 3, 6, 8, 12, 16]) {
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

  it("receives every pair of chunks but its own, also if chunks differ", () => {
    fc.assert(
      fc.property(anyProblem(), (problem) => {
        const schedule = compile(problem);
        expect(receivedBytes(schedule)).toEqual(ringBytes(schedule));
      }),
    );
  });

  it("is balanced exactly on one causal document of 2P equal chunks", () => {
    for (const ranks of [1, 2, 3, 8, 16]) {
      expect(accountOf(compile(problemOf({ lengths: [2 * ranks * 5], ranks }))).area.balance).toBe(1);
    }
  });

  it("is out of balance on a pack that is not one document, as the published system is", () => {
    // The long document is all of the middle ranks' work.
    const { area } = accountOf(
      compile(problemOf({ lengths: [...Array(24).fill(1), 48, ...Array(24).fill(1)], ranks: 4 })),
    );
    expect(area.balance).toBeGreaterThan(1.9);
  });
});
