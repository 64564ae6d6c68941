import { describe, expect, test } from "vitest";
import { hsap } from "./captured-run.ts";

describe("hsap bench compile", () => {
  test("prints JSON with stable names: cold and warm times of each pack, by ranks", async () => {
    const { exitCode, out } = await hsap("bench compile --json --pack code-16,single-8 --repeats 1");
    expect(exitCode).toBe(0);
    const report = JSON.parse(out);
    expect(report).toMatchObject({ strategy: "hsap", processes: 1 });
    expect(report.rows.map(({ pack, ranks }: Row) => [pack, ranks])).toEqual([
      ["single-8", 8],
      ["code-16", 16],
    ]);
    for (const { documents, tokens, ranks, compileMs } of report.rows) {
      expect(documents).toBeGreaterThanOrEqual(1);
      expect(tokens).toBe(8192 * ranks);
      for (const { p50, p95 } of [compileMs.cold, compileMs.warm]) {
        expect(p50).toBeGreaterThan(0);
        expect(p95).toBeGreaterThanOrEqual(p50);
      }
    }
  });

  test.each([
    ["--pack nothing-8", /unknown pack: nothing-8/],
    ["--strategy rnig", /unknown strategy: rnig/],
    ["--repeats 0", /invalid repeats: 0/],
  ])("refuses %s in one line", async (options, message) => {
    const { exitCode, out, err } = await hsap(`bench compile ${options}`);
    expect([exitCode, out]).toEqual([2, ""]);
    expect(err).toMatch(message);
    expect(err.split("\n").length).toBe(2);
  });
});

interface Row {
  readonly pack: string;
  readonly ranks: number;
}
