import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { median, pairedRatio } from "../src/statistics.ts";

describe("median", () => {
  test("is the middle of an odd number of values and the mean of the middle two of an even number", () => {
    expect(median([3, 1, 2])).toBe(2);
    expect(median([4, 1, 3, 2])).toBe(2.5);
  });

  test("refuses no values", () => {
    expect(() => median([])).toThrow("invalid samples: 0 (a median needs at least 1)");
  });
});

describe("pairedRatio", () => {
  test("has an interval without width when every pair has the same ratio", () => {
    expect(pairedRatio([2, 4, 6], [1, 2, 3])).toEqual({ estimate: 2, low: 2, high: 2, samples: 3 });
  });

  test("pairs runs, so a disturbance that both runs share leaves no trace", () => {
    const { low, high } = pairedRatio([10, 1000, 12, 900], [20, 2000, 24, 1800]);
    expect([low, high]).toEqual([0.5, 0.5]);
  });

  test("gives the same interval for the same seed", () => {
    const values = Array.from({ length: 50 }, (_, i) => ((i * 37) % 101) + 1);
    const ones = values.map(() => 1);
    expect(pairedRatio(values, ones, { seed: 7 })).toEqual(pairedRatio(values, ones, { seed: 7 }));
    const few = { resamples: 20 };
    expect(pairedRatio(values, ones, { seed: 7, ...few })).not.toEqual(pairedRatio(values, ones, { seed: 8, ...few }));
  });

  test("covers a median of 1 in about 95 of 100 samples of independent ratios around 1", () => {
    let covered = 0;
    for (let seed = 1; seed <= 200; seed++) {
      // A fixed linear congruential sequence: the test must not depend on the bootstrap's own generator.
      let state = seed * 2654435761;
      const next = () => {
        state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
        return state / 2 ** 32;
      };
      const ratios = Array.from({ length: 25 }, () => 0.5 + next());
      const { low, high } = pairedRatio(
        ratios,
        ratios.map(() => 1),
        { seed, resamples: 400 },
      );
      if (low <= 1 && high >= 1) covered++;
    }
    expect(covered / 200).toBeGreaterThan(0.88);
    expect(covered / 200).toBeLessThan(0.995);
  });

  test("holds the estimate inside the interval and the interval inside the ratios", () => {
    const positive = fc.double({ min: 0.001, max: 1000, noNaN: true });
    fc.assert(
      fc.property(fc.array(fc.tuple(positive, positive), { minLength: 1, maxLength: 30 }), (pairs) => {
        const ratios = pairs.map(([a, b]) => a / b);
        const { estimate, low, high } = pairedRatio(
          pairs.map(([a]) => a),
          pairs.map(([, b]) => b),
          { resamples: 100 },
        );
        expect(low).toBeGreaterThanOrEqual(Math.min(...ratios));
        expect(high).toBeLessThanOrEqual(Math.max(...ratios));
        expect(estimate).toBe(median(ratios));
      }),
    );
  });

  test("refuses lists of different lengths", () => {
    expect(() => pairedRatio([1], [1, 2])).toThrow("invalid pairs: 1 and 2 values (needs as many of each)");
  });
});
