import { describe, expect, test } from "vitest";
import { hsap } from "./captured-run.ts";

describe("hsap model", () => {
  test("predicts a step of each strategy: time, tokens a second, MFU and memory by kind", async () => {
    const { exitCode, out } = await hsap(
      "model --model 1.3b --ranks 4 --tokens 4096,8192 --strategy megatron,hsap --json",
    );
    expect(exitCode).toBe(0);
    const rows = JSON.parse(out);
    expect(rows.map(({ tokens, strategy }: Row) => [tokens, strategy])).toEqual([
      [4096, "megatron"],
      [4096, "hsap"],
      [8192, "megatron"],
      [8192, "hsap"],
    ]);
    for (const { tokens, step } of rows) {
      expect(step.tokensPerSecond).toBeCloseTo((1000 * tokens) / step.stepMs, 3);
      const { total, ...kinds } = step.memory;
      expect(Object.keys(kinds)).toEqual(["weights", "gradients", "optimiser", "activations", "working"]);
      expect(Object.values<number>(kinds).reduce((sum, bytes) => sum + bytes, 0)).toBe(total);
      expect(step.fits).toBe(true);
    }
  });

  test("says why a strategy cannot split the model, beside those that can", async () => {
    const { exitCode, out } = await hsap("model --model 160m --ranks 8 --tokens 2048 --strategy ulysses,hsap");
    expect(exitCode).toBe(0);
    expect(out).toMatch(/ulysses +- .*must divide 12 heads/);
    expect(out).toMatch(/hsap +ulysses=\d+,sap=\d+ .* yes\n/);
    expect(out).toContain("# origin: simulated; memory: counted");
  });

  test.each([
    ["--model 8b", /unknown model: 8b/],
    ["--strategy rnig", /unknown strategy: rnig/],
    ["--degrees tensor=8", /invalid degrees: more than one strategy/],
    ["--strategy megatron --degrees tensor=3", /invalid degrees: tensor=3 \(must multiply to 8 ranks\)/],
    ["--tokens 0", /invalid tokens: 0/],
    ["--dtype int8", /unknown dtype: int8/],
  ])("refuses %s in one line", async (options, message) => {
    const { exitCode, out, err } = await hsap(`model ${options}`);
    expect([exitCode, out]).toEqual([2, ""]);
    expect(err).toMatch(message);
    expect(err.trim().split("\n")).toHaveLength(1);
  });
});

interface Row {
  readonly tokens: number;
  readonly strategy: string;
}
