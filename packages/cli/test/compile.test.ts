import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseSchedule } from "@hsap/schedule";
import { describe, expect, test } from "vitest";
import { hsap } from "./captured-run.ts";

describe("hsap compile", () => {
  test("prints JSON with stable names and exact counts", async () => {
    const { exitCode, out, err } = await hsap(
      "compile --json --strategy ring --docs 64,64 --ranks 4 --heads 4 --kv-heads 2 --head-dim 64",
    );
    const report = JSON.parse(out);
    expect(exitCode).toBe(0);
    expect(err).toBe("");
    // Ring, forward: (P-1)/P of all keys and values, 2 * 128 tokens * 2 heads * 64 * 4 bytes, reach every rank.
    const received = (3 / 4) * 2 * 128 * 2 * 64 * 4;
    expect(report).toMatchObject({
      strategy: "ring",
      degrees: { ring: 4 },
      ranks: 4,
      documents: 2,
      tokens: 128,
      balance: { tokens: 1 },
      receivedBytes: { total: 4 * received, mean: received, max: received },
      betweenNodesBytes: 0,
      verified: true,
    });
    expect(report.balance.area).toBeGreaterThan(1);
    for (const key of ["groups", "ops", "compileMs", "verifyMs"]) expect(report[key]).toBeGreaterThan(0);
    expect(report.peakBytes.max).toBeGreaterThanOrEqual(report.peakBytes.mean);
  });

  test("uses the same problem for the same seed, and another for another", async () => {
    const digest = async (seed: number) => (await hsap(`compile --text --mix code --tokens 2000 --seed ${seed}`)).out;
    expect(await digest(3)).toBe(await digest(3));
    expect(await digest(3)).not.toBe(await digest(4));
  });

  test("prints a schedule in a text form that reads back", async () => {
    const { out } = await hsap("compile --text --strategy zigzag --docs 17,5 --ranks 3");
    expect(parseSchedule(out).opBegin.length).toBe(4);
  });

  test("counts a schedule read back from its binary form as it counted it before", async () => {
    const folder = mkdtempSync(join(tmpdir(), "hsap-compile-"));
    const file = join(folder, "schedule.hsap");
    const written = JSON.parse(
      (await hsap(`compile --json --pack hybrid-8 --cluster h100-400g --ranks 8 --out ${file}`)).out,
    );
    const read = JSON.parse((await hsap(`compile --json --schedule ${file}`)).out);
    rmSync(folder, { recursive: true });
    const { compileMs: _, verifyMs: __, ...counts } = written;
    expect(read).toMatchObject(counts);
  });

  test("fails, and says which rule, when the memory cap is exceeded", async () => {
    const { exitCode, err } = await hsap("compile --strategy ring --docs 4000 --ranks 2 --memory-cap 10KB");
    expect(exitCode).toBe(1);
    expect(err).toMatch(/^hsap: the schedule breaks a rule: memory: [^\n]*\n$/);
  });

  test("refuses a memory cap that no schedule of hsap fits, and says what would fit", async () => {
    const { exitCode, err } = await hsap("compile --docs 4000 --ranks 2 --memory-cap 10KB");
    expect(exitCode).toBe(2);
    expect(err).toMatch(
      /^hsap: invalid memory-cap: 10000 bytes \(the least that fits is \d+, with ulysses=\d, keys in 1 round\)\n$/,
    );
  });

  test("shows a person the balance, the bytes and the verdict", async () => {
    const { out } = await hsap("compile --mix hybrid --tokens 4096");
    expect(out).toMatch(/balance +area \d/);
    expect(out).toMatch(/verdict +every rule holds/);
  });
});

describe("hsap --help", () => {
  test.each(["", "compile ", "compare ", "verify ", "experiment ", "figures ", "doctor "])(
    "hsap %s--help goes to standard output",
    async (command) => {
      const { exitCode, out, err } = await hsap(`${command}--help`);
      expect([exitCode, err]).toEqual([0, ""]);
      expect(out).toMatch(/^Usage: hsap/);
    },
  );
});
