import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { layerStrategyNames } from "@hsap/training";
import { afterAll, describe, expect, test } from "vitest";
import { hsap } from "./captured-run.ts";

const folder = mkdtempSync(join(tmpdir(), "hsap-train-"));
afterAll(() => rmSync(folder, { recursive: true }));

interface Step {
  readonly step: number;
  readonly loss: number;
}

const stepsOf = (out: string): Step[] =>
  out
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line))
    .map(({ step, loss }) => ({ step, loss }));

describe("hsap train", () => {
  test("prints a line of JSON for every step, and goes on from a checkpoint with the same numbers", async () => {
    const file = join(folder, "run.ckpt");
    const whole = await hsap("train --tokens 128 --ranks 2 --steps 4 --json");
    expect(whole.exitCode).toBe(0);
    const half = await hsap(`train --tokens 128 --ranks 2 --steps 2 --json --checkpoint ${file}`);
    const rest = await hsap(`train --tokens 128 --ranks 2 --steps 4 --json --checkpoint ${file} --resume`);
    expect([...stepsOf(half.out), ...stepsOf(rest.out)]).toEqual(stepsOf(whole.out));
    const other = await hsap(`train --tokens 256 --ranks 2 --steps 4 --checkpoint ${file} --resume`);
    expect([other.exitCode, other.err]).toEqual([
      2,
      expect.stringContaining("invalid tokens: 256 (the checkpoint was trained with 128)"),
    ]);
  });

  test("trains in bf16, says how matrices are multiplied, and goes on only in the dtype of the checkpoint", async () => {
    const file = join(folder, "bf16.ckpt");
    const { exitCode, out } = await hsap(
      `train --dtype bf16 --tokens 128 --ranks 2 --steps 2 --json --checkpoint ${file}`,
    );
    expect(exitCode).toBe(0);
    const fp32 = await hsap("train --tokens 128 --ranks 2 --steps 2 --json");
    stepsOf(out).forEach(({ loss }, i) => {
      expect(loss).not.toBe(stepsOf(fp32.out)[i].loss);
      expect(Math.abs(loss - stepsOf(fp32.out)[i].loss) / loss).toBeLessThan(2 ** -8);
    });
    expect(JSON.parse(out.split("\n")[0]).products).toMatch(/^bf16 with fp32 sums \(/);
    const table = await hsap(`train --dtype bf16 --tokens 128 --ranks 2 --steps 3 --checkpoint ${file} --resume`);
    expect(table.out).toMatch(/# bf16: activations, weights and messages; fp32: sums, .*; matrix products: bf16 with/);
    const other = await hsap(`train --tokens 128 --ranks 2 --steps 4 --checkpoint ${file} --resume`);
    expect([other.exitCode, other.err]).toEqual([
      2,
      expect.stringContaining("invalid dtype: fp32 (the checkpoint was trained with bf16)"),
    ]);
  });

  test("checks a step in bf16 against float64, with twice the error of one rank", async () => {
    const { exitCode, out } = await hsap("train --check --dtype bf16 --strategy ring,megatron --ranks 2 --tokens 64");
    expect(exitCode).toBe(0);
    expect(out).toMatch(/# errors are relative to float64/);
    expect(out).toMatch(/# bf16: allowed are 3.9e-3 of the loss, and [1-9].*e-[23] of gradients, twice what one rank/);
    expect(out).toMatch(/# 2 strategies, 0 wrong/);
  });

  test("trains with tensor ranks and data groups, given or chosen by predicted time", async () => {
    const losses: number[] = [];
    for (const more of ["", "--degrees tensor=2,data=2", "--degrees auto --weights grouped"]) {
      const { exitCode, out } = await hsap(`train --strategy ulysses --tokens 512 --steps 1 --json ${more}`);
      expect(exitCode).toBe(0);
      losses.push(JSON.parse(out).loss);
    }
    for (const loss of losses) expect(loss).toBeCloseTo(losses[0], 5);
    const { out } = await hsap("train --strategy megatron --tokens 512 --steps 1 --degrees data=2");
    expect(out).toMatch(/# megatron tensor=2,data=2, 4 ranks/);
  });

  test("takes the same steps where weights are gathered ahead, and where tensor ranks' rows travel beside products", async () => {
    const lossesOf = async (words: string) => {
      const { exitCode, out } = await hsap(`train --tokens 128 --steps 2 --json ${words}`);
      expect(exitCode).toBe(0);
      return stepsOf(out).map(({ loss }) => loss);
    };
    expect(await lossesOf("--strategy ring --prefetch")).toEqual(await lossesOf("--strategy ring"));
    const [apart, beside] = [await lossesOf("--strategy megatron"), await lossesOf("--strategy megatron --overlap")];
    // Gradients of weights add up tokens in another order, which shows in the losses after the first.
    beside.forEach((loss, i) => {
      expect(Math.abs(loss / apart[i] - 1)).toBeLessThan(1e-6);
    });
    expect(beside).not.toEqual(apart);
    const refused = await hsap("train --tokens 128 --prefetch --recompute full");
    expect([refused.exitCode, refused.err]).toEqual([
      2,
      expect.stringContaining("unsupported prefetch: recompute is full"),
    ]);
  });

  test("checks the first step of strategies against the step of one rank", async () => {
    const { exitCode, out } = await hsap("train --check --strategy ulysses,megatron --ranks 2 --tokens 64 --json");
    expect(exitCode).toBe(0);
    const { by, rows } = JSON.parse(out);
    expect(by).toBe("float64");
    expect(rows.map(({ strategy, ok }: { strategy: string; ok: boolean }) => [strategy, ok])).toEqual([
      ["ulysses", true],
      ["megatron", true],
    ]);
  });

  test("checks all strategies that there are, in groups or not at all where they cannot have all ranks, and keeps what is done", async () => {
    const results = join(folder, "checks");
    const line = `train --check --strategy all --ranks 8 --mix instruct --tokens 256 --results ${results}`;
    const first = await hsap(`${line} --json`);
    expect(first.exitCode).toBe(0);
    const { rows, refused } = JSON.parse(first.out);
    const names = [...rows, ...refused].map(({ strategy }: { strategy: string }) => strategy);
    expect(names.toSorted()).toEqual(layerStrategyNames.filter((name) => name !== "reference").toSorted());
    const megatron = rows.find(({ strategy }: { strategy: string }) => strategy === "megatron");
    expect(megatron).toMatchObject({ degrees: { tensor: 4, data: 2 }, ok: true });
    const again = await hsap(line);
    expect(again.err).toContain(`resumed: ${rows.length} of ${rows.length} checks are already there`);
    expect(again.out).toMatch(
      /\n# megatron runs in data groups; over all ranks: invalid degree: tensor=8 \(megatron splits 4 kv heads: must divide them\)\n/,
    );
    expect(again.out).toMatch(new RegExp(`\n# ${rows.length} strategies, 0 wrong; 0 checked now\n$`));
    expect((await hsap(`train --results ${results}`)).err).toMatch(/conflicting options: --results needs --check/);
  }, 60_000);

  test("shows contamination as a different loss, and as nothing else", async () => {
    const { exitCode, out } = await hsap(
      "train --check --faithful --strategy ring --ranks 2 --tokens 512 --mix instruct --json",
    );
    const [{ strategy, ok, loss }] = JSON.parse(out).rows;
    expect([exitCode, strategy, ok]).toEqual([1, "ring", false]);
    expect(loss).toBeGreaterThan(1e-5);
    expect((await hsap("train --faithful --strategy ulysses")).err).toMatch(/invalid faithful: ulysses/);
  });

  test("shows a row for some steps, with the memory of the largest rank", async () => {
    const { exitCode, out } = await hsap("train --strategy megatron --ranks 2 --tokens 64 --steps 3 --every 2");
    expect(exitCode).toBe(0);
    expect(out).toMatch(/# memory of the largest rank \(counted\): weights [0-9.]+, .* together [0-9.]+ MB/);
    expect(out).toMatch(/\n {6,}2 +[0-9.]+ .*\n {6,}3 +[0-9.]+ .*\n# 3 steps\n$/);
  });

  test.each([
    ["--model 8b", /unknown model: 8b/],
    ["--strategy rnig", /unknown strategy: rnig/],
    ["--strategy megatron --weights sharded", /invalid weights: sharded \(megatron splits its weights itself\)/],
    ["--strategy megatron --ranks 8", /invalid degree: tensor=8 \(megatron splits 4 kv heads: must divide them\)/],
    ["--learning-rate 2", /invalid learning-rate: 2/],
    ["--resume", /missing checkpoint/],
    ["--recompute some", /unknown recompute: some/],
    ["--dtype fp16", /unknown dtype: fp16/],
  ])("refuses %s in one line", async (options, message) => {
    const { exitCode, out, err } = await hsap(`train ${options}`);
    expect([exitCode, out]).toEqual([2, ""]);
    expect(err).toMatch(message);
    expect(err.trim().split("\n")).toHaveLength(1);
  });
});
