import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { batchStatistics, causalArea, fullArea, InputError, packedBatch, percentile } from "../src/index.ts";

describe("the statistics of a batch", () => {
  it("count pairs as a loop over all tokens does", () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 30 }), { minLength: 1, maxLength: 8 }), (lengths) => {
        let causal = 0;
        let full = 0;
        for (const length of lengths) {
          for (let query = 0; query < length; ++query) {
            for (let key = 0; key < length; ++key) {
              ++full;
              if (key <= query) ++causal;
            }
          }
        }
        const batch = packedBatch(lengths);
        expect([causalArea(batch), fullArea(batch)]).toEqual([causal, full]);
      }),
    );
  });

  it("are exact for a document of 100 million tokens less one", () => {
    expect(causalArea(packedBatch([99_999_999]))).toBe(4_999_999_950_000_000);
  });

  it("refuse a batch whose area no number holds exactly", () => {
    expect(() => fullArea(packedBatch([94_906_266]))).toThrow(InputError);
    expect(fullArea(packedBatch([94_906_265]))).toBe(9_007_199_136_250_225);
  });

  it("say how much of the area the longest documents hold", () => {
    // Ninety documents of 1 token (area 1 each) and ten of 3 (area 6 each): 60 of 150 pairs, 30 of 120 tokens.
    const batch = packedBatch([...Array<number>(90).fill(1), ...Array<number>(10).fill(3)]);
    const { longest, percentiles, ...counts } = batchStatistics(batch);
    expect(counts).toEqual({ documents: 100, tokens: 120, causalArea: 150, fullArea: 180 });
    expect(longest.percent10).toEqual({ documents: 10, tokens: 0.25, causalArea: 0.4 });
    expect(longest.percent1).toEqual({ documents: 1, tokens: 3 / 120, causalArea: 6 / 150 });
    expect(percentiles).toEqual({ p0: 1, p50: 1, p90: 1, p99: 3, p100: 3 });
  });

  it("count the longest documents of a small batch rounded up", () => {
    expect(batchStatistics(packedBatch([4])).longest.percent1).toEqual({ documents: 1, tokens: 1, causalArea: 1 });
  });
});

describe("a percentile", () => {
  it("is the value at the nearest rank", () => {
    const sorted = [15, 20, 35, 40, 50];
    expect([5, 30, 40, 50, 100].map((percent) => percentile(sorted, percent))).toEqual([15, 20, 20, 35, 50]);
  });

  it.each([0, -1, 101, Number.NaN])("is refused at %d %%", (percent) => {
    expect(() => percentile([1], percent)).toThrow(RangeError);
  });
});
