import { ranksOf } from "@hsap/schedule";
import { lengthsOf, tokensOf } from "@hsap/workload";
import { describe, expect, test } from "vitest";
import { verificationCases, verificationRanks } from "../src/verification/verification-cases.ts";

describe("the verification suite", () => {
  test("runs on 1 to 16 ranks, and in its quick form still on 3, 6 and 12", () => {
    expect(verificationRanks("default")).toEqual(Array.from({ length: 16 }, (_, i) => i + 1));
    expect(verificationRanks("quick")).toEqual(expect.arrayContaining([1, 3, 6, 12, 16]));
  });

  test.each(verificationRanks("default"))("holds the conformance lengths on %i ranks", (ranks) => {
    const cases = verificationCases(ranks, "default", 1);
    const lengths = cases.map(({ problem }) => [...lengthsOf(problem.batch)]);
    const conformance = [1, 7, 2 * ranks - 1, 2 * ranks + 1];
    expect(lengths.some((pack) => conformance.every((length) => pack.includes(length)))).toBe(true);
    expect(cases.every(({ problem }) => ranksOf(problem) === ranks)).toBe(true);
    if (ranks > 1) expect(cases.some(({ problem }) => tokensOf(problem.batch) < ranks)).toBe(true);
  });

  test("meets every pack and both masks over its rank counts", () => {
    const packOf = (name: string) => name.replace(/, \d+ heads.*/, "");
    const cases = verificationRanks("default").flatMap((ranks) => verificationCases(ranks, "default", 1));
    const all = verificationCases(4, "full", 1);
    expect(new Set(cases.map(({ name }) => packOf(name)))).toEqual(new Set(all.map(({ name }) => packOf(name))));
    expect(new Set(cases.map(({ problem }) => problem.mask))).toEqual(new Set(["causal", "full"]));
  });

  test("meets head dimensions 64, 80 and 128, and 1 to all kv heads", () => {
    const shapes = verificationRanks("quick").flatMap((ranks) =>
      verificationCases(ranks, "quick", 1).map(({ problem }) => problem.shape),
    );
    expect(new Set(shapes.map(({ headDim }) => headDim))).toEqual(new Set([64, 80, 128]));
    expect(shapes.some(({ kvHeads }) => kvHeads === 1)).toBe(true);
    expect(shapes.some(({ heads, kvHeads }) => kvHeads === heads)).toBe(true);
    expect(shapes.some(({ heads, kvHeads }) => kvHeads > 1 && kvHeads < heads)).toBe(true);
  });

  test("tries every shape with every pack in its full form", () => {
    const full = verificationCases(6, "full", 1);
    expect(full.length).toBe(8 * 5);
    expect(new Set(full.map(({ name }) => name)).size).toBe(full.length);
  });
});
