import { describe, expect, it } from "vitest";
import { drawLength, InputError, type LengthLaw, lengthLaws, percentile, seededRandom } from "../src/index.ts";

describe("the length laws", () => {
  it("give a fixed length", () => {
    expect(draws({ kind: "fixed", tokens: 9 }, 5)).toEqual(Float64Array.of(9, 9, 9, 9, 9));
  });

  it("give every whole number of a uniform range and no other", () => {
    expect([...new Set(draws({ kind: "uniform", min: 3, max: 6 }, 300))]).toEqual([3, 4, 5, 6]);
  });

  it("fill bins in proportion to their shares", () => {
    const bins = [
      { min: 1, max: 1, share: 20 },
      { min: 10, max: 19, share: 80 },
    ];
    const lengths = draws({ kind: "bins", within: "uniform", bins }, 20_000);
    expect(lengths.filter((length) => length === 1).length / lengths.length).toBeCloseTo(0.2, 1);
    expect([...new Set(lengths)]).toEqual([1, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19]);
  });

  it("give the middle of a bin where that is asked for", () => {
    const midpoints = draws({ ...lengthLaws.pretraining, within: "midpoint" }, 50_000);
    expect([...new Set(midpoints)]).toEqual([
      5, 30, 75, 150, 350, 762, 1536, 3072, 6144, 12288, 24576, 49152, 98304, 163840,
    ]);
  });

  it("follow the published shares of tokens and area in long documents of the pretraining law", () => {
    // Long documents (64k and above) hold "about a fifth of the tokens and four fifths of the attention area".
    const { bins } = lengthLaws.pretraining;
    const middle = ({ min, max }: { min: number; max: number }) => (min + max) / 2;
    const long = bins.filter(({ min }) => min > 65536);
    const tokens = (of: typeof bins) => of.reduce((sum, bin) => sum + bin.share * middle(bin), 0);
    const area = (of: typeof bins) => of.reduce((sum, bin) => sum + bin.share * middle(bin) ** 2, 0);
    expect(tokens(long) / tokens(bins)).toBeCloseTo(0.2, 1);
    expect(area(long) / area(bins)).toBeCloseTo(0.8, 1);
  });

  it.each([
    ["wikipedia", 1014, 10_900],
    ["prolong", 3052, 16_300],
  ] as const)("give %s its published mean and 99th percentile within 2 %%", (name, mean, p99) => {
    const lengths = draws(lengthLaws[name], 400_000);
    expect(Math.abs(lengths.reduce((sum, x) => sum + x, 0) / lengths.length / mean - 1)).toBeLessThan(0.02);
    expect(Math.abs(percentile(lengths, 99) / p99 - 1)).toBeLessThan(0.02);
    expect(lengths[lengths.length - 1]).toBeLessThanOrEqual(lengthLaws[name].max);
  });

  it("give the same lengths for the same seed", () => {
    for (const law of Object.values(lengthLaws)) expect(draws(law, 100)).toEqual(draws(law, 100));
  });

  it.each<[LengthLaw, string]>([
    [{ kind: "fixed", tokens: 0 }, "invalid length: 0 at law fixed"],
    [{ kind: "uniform", min: 1.5, max: 3 }, "invalid length: 1.5 at law uniform min"],
    [{ kind: "uniform", min: 5, max: 3 }, "invalid range: 5 to 3 at law uniform (min must not exceed max)"],
    [{ kind: "bins", within: "uniform", bins: [] }, "invalid law bins: shares sum to 0 (must be above 0)"],
    [
      { kind: "bins", within: "uniform", bins: [{ min: 1, max: 2, share: -1 }] },
      "invalid share: -1 at law bins 0 (must be at least 0)",
    ],
    [{ ...lengthLaws.wikipedia, alpha: 0 }, "invalid law lognormal-pareto: 5.95, 1.258, 0.0098, 8500, 0"],
  ])("refuse %j", (law, message) => {
    expect(() => drawLength(law, seededRandom(1))).toThrow(InputError);
    expect(() => drawLength(law, seededRandom(1))).toThrow(message);
  });

  function draws(law: LengthLaw, count: number): Float64Array {
    const random = seededRandom(11);
    return Float64Array.from({ length: count }, () => drawLength(law, random)).sort();
  }
});
