import { benchKernels, type KernelBenchOptions } from "@hsap/engine";
import { describe, expect, test } from "vitest";

const tiny: KernelBenchOptions = {
  isas: ["scalar"],
  dtypes: ["fp32"],
  headDims: [8],
  masks: ["full"],
  passes: ["forward", "backward"],
  mixes: [{ name: "three", lengths: [3, 1, 5] }],
  repeats: 2,
  minSampleMs: 0.01,
};

describe("benchKernels", () => {
  test("measures every case once in each round, and rests between rounds", async () => {
    const happened: string[] = [];
    const { rows } = await benchKernels({
      ...tiny,
      onProgress: (done, total) => happened.push(`${done} of ${total}`),
      afterRound: async (round) => {
        await new Promise((resolve) => setTimeout(resolve, 5));
        happened.push(`round ${round}`);
      },
    });
    expect(happened).toEqual(["1 of 4", "2 of 4", "round 1", "3 of 4", "4 of 4", "round 2"]);
    expect(rows.map(({ isa, mix, tokens, pass }) => [isa, mix, tokens, pass])).toEqual([
      ["scalar", "three", 9, "forward"],
      ["scalar", "three", 9, "backward"],
    ]);
  });

  test("ends with the signal's reason when it is aborted", async () => {
    const controller = new AbortController();
    const reason = new Error("enough");
    const run = benchKernels({ ...tiny, signal: controller.signal, onProgress: () => controller.abort(reason) });
    await expect(run).rejects.toBe(reason);
  });

  test("ends with what is thrown between rounds", async () => {
    const failure = new Error("no peer");
    await expect(benchKernels({ ...tiny, afterRound: () => Promise.reject(failure) })).rejects.toBe(failure);
  });

  test.each([
    [{ mixes: [] }, "missing mixes"],
    [{ headDims: [0] }, "invalid headDim: 0"],
    [{ repeats: 1.5 }, "invalid repeats: 1.5"],
    [{ mixes: [{ name: "empty", lengths: [] }] }, "invalid mix: empty"],
  ])("refuses %j", async (change, message) => {
    await expect(benchKernels({ ...tiny, ...change })).rejects.toThrow(
      expect.objectContaining({ code: "invalid-input", message: expect.stringContaining(message) }),
    );
  });
});
