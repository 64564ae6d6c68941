import { describe, expect, test } from "vitest";
import { hsap } from "./captured-run.ts";

const small = "--docs 300,40 --heads 2 --head-dim 16 --repeats 2";

describe("hsap bench threads", () => {
  test("prints JSON with stable names: every pass on every number of threads, with the same bits", async () => {
    const { exitCode, out } = await hsap(`bench threads --json ${small} --threads 1,3`);
    expect(exitCode).toBe(0);
    const { rows, repeats } = JSON.parse(out);
    expect(repeats).toBe(2);
    expect(rows.map(({ pass, threads }: Row) => [pass, threads])).toEqual([
      ["forward", 1],
      ["forward", 3],
      ["backward", 1],
      ["backward", 3],
    ]);
    for (const row of rows) {
      expect(row).toMatchObject({ strategy: "reference", ranks: 1, sameBits: true });
      expect(row.samplesMs).toHaveLength(2);
      expect(row.wallMs).toBeGreaterThan(0);
      expect(row.gflops).toBeGreaterThan(0);
      expect(row.placed.computing).toBe(row.threads);
      expect(row.speedup.low).toBeLessThanOrEqual(row.speedup.high);
    }
  });

  test.each([
    ["--threads 0", /invalid threads: 0/],
    ["--threads 2000", /invalid threads: 2000 \(must be at most 1024\)/],
    ["--pin tight", /pin: tight/],
    ["--strategy rnig", /unknown strategy: rnig/],
  ])("refuses %s in one line", async (options, message) => {
    const { exitCode, out, err } = await hsap(`bench threads ${options}`);
    expect([exitCode, out]).toEqual([2, ""]);
    expect(err).toMatch(message);
    expect(err.split("\n").length).toBe(2);
  });
});

describe("hsap bench overlap", () => {
  test("prints JSON with stable names: computation, communication and both of each strategy", async () => {
    const { exitCode, out } = await hsap(`bench overlap --json ${small} --strategy ring`);
    expect(exitCode).toBe(0);
    const { rows, ranks } = JSON.parse(out);
    expect(ranks).toBe(2);
    expect(rows).toHaveLength(1);
    const [row] = rows;
    expect(row.strategy).toBe("ring");
    for (const name of ["linkBytesPerSecond", "computationMs", "communicationMs", "wallMs", "overLonger", "overSum"])
      expect(row[name]).toBeGreaterThan(0);
    expect(Number.isFinite(row.hidden)).toBe(true);
  });

  test("refuses a link that is no rate", async () => {
    const { exitCode, err } = await hsap("bench overlap --link fast");
    expect(exitCode).toBe(2);
    expect(err).toMatch(/invalid link: fast/);
  });
});

interface Row {
  readonly pass: string;
  readonly threads: number;
}
