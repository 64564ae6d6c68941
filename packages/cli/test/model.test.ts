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

  test("finds degrees for a model that a strategy cannot split over all ranks, tensor ranks and data groups among them", async () => {
    const command = "model --model 160m --ranks 8 --tokens 4096 --strategy ulysses,megatron --mix chat";
    const { exitCode, out } = await hsap(`${command} --degrees auto --weights grouped --json`);
    expect(exitCode).toBe(0);
    for (const { step } of JSON.parse(out)) {
      expect(Object.keys(step.degrees)).toContain("data");
      expect(Object.values<number>(step.degrees).reduce((a, b) => a * b, 1)).toBe(8);
    }
    const given = await hsap(
      "model --model 160m --ranks 8 --tokens 4096 --mix chat --strategy ulysses --degrees tensor=2,data=2",
    );
    expect(given.out).toMatch(/ulysses +tensor=2,ulysses=2,data=2 .* yes\n/);
  });

  test("finds the most tokens that fit, for lists of models, ranks, weights and recomputation", async () => {
    const { exitCode, out } = await hsap(
      "model --max-tokens --model 1.3b,7b --ranks 2,4 --strategy megatron,hsap --weights replicated,sharded --recompute none,selective,full --json",
    );
    expect(exitCode).toBe(0);
    const rows = JSON.parse(out);
    expect(rows).toHaveLength(2 * 2 * (1 + 2) * 3);
    for (const { tokens, grain, ranks, memory, next, memoryGiB } of rows) {
      expect([grain, tokens % grain]).toEqual([256 * ranks, 0]);
      if (tokens > 0) expect(memory.total).toBeLessThanOrEqual(memoryGiB * 2 ** 30);
      expect(next.total).toBeGreaterThan(memoryGiB * 2 ** 30);
    }
    const tokensOf = (wanted: object) =>
      rows.find((row: object) => Object.entries(wanted).every(([key, value]) => row[key as keyof object] === value))
        .tokens;
    const one = { model: "1.3b", ranks: 4, strategy: "hsap", weights: "sharded", recompute: "none" };
    expect(tokensOf({ ...one, recompute: "selective" })).toBeGreaterThan(tokensOf(one));
    expect(tokensOf({ ...one, recompute: "full" })).toBeGreaterThan(tokensOf({ ...one, recompute: "selective" }));
    expect(tokensOf({ ...one, ranks: 2 })).toBeLessThan(tokensOf(one));
    expect(tokensOf({ ...one, model: "7b" })).toBeLessThan(tokensOf(one));
  });

  test("finds the degrees that fit most tokens", async () => {
    const rowsOf = async (degrees: string) => {
      const { out } = await hsap(
        `model --max-tokens --model 1.3b --ranks 4 --strategy hsap,megatron --recompute full ${degrees} --json`,
      );
      return JSON.parse(out);
    };
    const [own, most] = [await rowsOf(""), await rowsOf("--degrees most")];
    for (const i of [0, 1]) expect(most[i].tokens).toBeGreaterThanOrEqual(own[i].tokens);
    expect(most[0].next.total).toBeGreaterThan(80 * 2 ** 30);
    const { degrees, tokens } = most[0];
    const list = Object.entries(degrees).map(([name, value]) => `${name}=${value}`);
    const { out } = await hsap(
      `model --max-tokens --model 1.3b --ranks 4 --strategy hsap --recompute full --degrees ${list.join(",")} --json`,
    );
    expect(JSON.parse(out)[0].tokens).toBe(tokens);
  });

  test("says beside the longest steps why a strategy has none", async () => {
    const { exitCode, out } = await hsap("model --max-tokens --model 160m --ranks 8 --strategy ulysses,ring");
    expect(exitCode).toBe(0);
    expect(out).toMatch(/ulysses +sharded +selective +- .*must divide 12 heads/);
    expect(out).toMatch(/ring +sharded +selective +ring=8 +\d+ /);
  });

  test.each([
    ["--max-tokens --degrees fastest", /invalid degrees: fastest \(--max-tokens predicts no times\)/],
    ["--max-tokens --weights none", /unknown weights: none/],
    ["--model 8b", /unknown model: 8b/],
    ["--strategy rnig", /unknown strategy: rnig/],
    ["--degrees tensor=8", /invalid degrees: more than one strategy/],
    ["--strategy megatron --degrees tensor=3", /invalid degrees: tensor=3 \(must multiply to 8 ranks\)/],
    ["--strategy ulysses --degrees tensor=3,data=2", /invalid degrees: tensor=3,data=2 \(must multiply to 8 ranks\)/],
    ["--strategy ulysses --degrees rows=2", /unknown degree: rows \(ulysses has tensor, ulysses, data\)/],
    ["--mix single --strategy hsap --degrees data=2", /invalid degree: data=2 \(each group needs a document/],
    [
      "--model 160m --strategy ulysses --degrees tensor=8",
      /invalid degree: tensor=8 \(ulysses splits 12 kv heads: must divide/,
    ],
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
