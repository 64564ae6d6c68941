import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { hsap } from "./captured-run.ts";

describe("hsap bench compile", () => {
  test("prints JSON with stable names: first, cold, partial and cached times of each pack and pass", async () => {
    const { exitCode, out } = await hsap("bench compile --json --pack code-16,single-8 --repeats 1");
    expect(exitCode).toBe(0);
    const report = JSON.parse(out);
    expect(report).toMatchObject({ strategy: "hsap", processes: 1, warmUpMs: 500, warmUpCalls: 10, timedCalls: 20 });
    expect(report.rows.map(({ pack, pass, ranks }: Row) => [pack, pass, ranks])).toEqual([
      ["single-8", "forward", 8],
      ["single-8", "backward", 8],
      ["code-16", "forward", 16],
      ["code-16", "backward", 16],
    ]);
    for (const { documents, tokens, ranks, degrees, ops, bytes, compileMs } of report.rows) {
      expect(documents).toBeGreaterThanOrEqual(1);
      expect(tokens).toBe(8192 * ranks);
      expect(degrees.ulysses * degrees.sap).toBe(ranks);
      expect(bytes).toBeGreaterThan(10 * ops);
      expect(Object.keys(compileMs)).toEqual(["first", "cold", "degrees", "plan", "rank", "cached"]);
      for (const { p50, p95 } of Object.values<Record<string, number>>(compileMs)) {
        expect(p50).toBeGreaterThan(0);
        expect(p95).toBeGreaterThanOrEqual(p50);
      }
    }
  });

  test("times other strategies as far as they have the parts, and mixes drawn for any number of ranks", async () => {
    const { exitCode, out } = await hsap("bench compile --json --pack code-9 --strategy zigzag --repeats 1");
    expect(exitCode).toBe(0);
    const [forward] = JSON.parse(out).rows;
    expect(forward).toMatchObject({ pack: "code-9", ranks: 9, tokens: 9 * 8192 });
    expect(Object.keys(forward.compileMs)).toEqual(["first", "cold"]);
  });

  test("draws the times into a file of the folder that it makes", async () => {
    const folder = mkdtempSync(join(tmpdir(), "hsap-bench-compile-"));
    try {
      const figure = join(folder, "made", "times.svg");
      const { exitCode, out } = await hsap(`bench compile --pack single-8 --repeats 1 --figure ${figure}`);
      expect([exitCode, out.split("\n").at(-2)]).toEqual([0, "# 2 rows"]);
      expect(readFileSync(figure, "utf8")).toMatch(/<title>Compile times of hsap<\/title>/);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  test.each([
    ["--pack nothing-8", /unknown pack: nothing-8/],
    ["--strategy rnig", /unknown strategy: rnig/],
    ["--repeats 0", /invalid repeats: 0/],
    ["--figure times.pdf", /invalid figure: times.pdf \(must end in .svg or .png\)/],
  ])("refuses %s in one line", async (options, message) => {
    const { exitCode, out, err } = await hsap(`bench compile ${options}`);
    expect([exitCode, out]).toEqual([2, ""]);
    expect(err).toMatch(message);
    expect(err.split("\n").length).toBe(2);
  });
});

interface Row {
  readonly pack: string;
  readonly pass: string;
  readonly ranks: number;
}
