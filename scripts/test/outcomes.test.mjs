import { describe, expect, it } from "vitest";
import { nativeOutcome } from "../checks/native-tests.mjs";
import { totalOutcome } from "../checks/outcome.mjs";
import { vitestOutcome } from "../checks/vitest-tests.mjs";

const counts = { passed: 5, failed: 0, pending: [], skipped: [], brokenModules: [], unhandledErrors: [] };

describe("the outcome of the package tests", () => {
  it("counts passed and failed tests", () => {
    expect(vitestOutcome(counts, 0)).toMatchObject({ passed: 5, failed: 0 });
    expect(vitestOutcome({ ...counts, failed: 2 }, 1)).toMatchObject({ passed: 5, failed: 2 });
  });

  it("names skipped tests with their reason and counts them nowhere", () => {
    const skipped = [{ name: "a.test.ts > x", reason: "this machine has no AVX-512" }];
    expect(vitestOutcome({ ...counts, skipped }, 0)).toEqual({ passed: 5, failed: 0, skipped });
  });

  it.each([
    ["no test ran", { ...counts, passed: 0 }, 0],
    ["a test was skipped without saying why", { ...counts, skipped: [{ name: "a.test.ts > x", reason: "" }] }, 0],
    ["a test never came to its end", { ...counts, pending: ["a.test.ts > x"] }, 1],
    ["a file did not load", { ...counts, brokenModules: ["a.test.ts"] }, 1],
    ["an error was thrown outside of a test", { ...counts, unhandledErrors: ["boom"] }, 1],
    ["the run failed for a reason that no count shows", counts, 1],
    ["the run did not come to its end", undefined, 137],
  ])("is a failure where %s", (_, result, exitCode) => {
    expect(vitestOutcome(result, exitCode).failed).toBe(1);
  });
});

describe("the outcome of the native tests", () => {
  const testcase = (name, status) =>
    `<testcase name="${name}" classname="${name}" time="0.1" status="${status}"><system-out></system-out></testcase>`;

  it("counts tests by their status in the report", () => {
    const junit = testcase("a", "run") + testcase("b", "fail") + testcase("c", "notrun") + testcase("d", "disabled");
    expect(nativeOutcome(junit, 8)).toEqual({
      passed: 1,
      failed: 2,
      skipped: [{ name: "native d", reason: "disabled in CMake" }],
    });
  });

  it.each([
    ["no test ran", "", 0],
    ["there is no report", "", 8],
    ["the run failed for a reason that the report does not show", testcase("a", "run"), 8],
  ])("is a failure where %s", (_, junit, exitCode) => {
    expect(nativeOutcome(junit, exitCode).failed).toBe(1);
  });
});

describe("the total", () => {
  it("is the sum of the outcomes", () => {
    const skipped = [{ name: "x", reason: "y" }];
    expect(
      totalOutcome([
        { passed: 1, failed: 0 },
        { passed: 3, failed: 2, skipped },
      ]),
    ).toEqual({
      passed: 4,
      failed: 2,
      skipped,
    });
  });
});
