import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type RegisterTile, tileTerms } from "../src/index.ts";
import { type TileShape, tileTermsOf } from "../src/threads/tile-terms.ts";

const registers: RegisterTile = { tileRows: 12, vectorKeys: 16 };
const tile = (part: Partial<TileShape>): TileShape => ({
  ...{ queries: 48, keys: 64, causalOffset: undefined, groupSize: 1, headDim: 64 },
  ...part,
});
const term = (terms: readonly number[], pass: "forward" | "backward", name: string): number =>
  terms[(tileTerms[pass] as readonly string[]).indexOf(name)];

describe("the terms of a tile", () => {
  it("of whole strips and vectors are its pairs, its keys and its rows", () => {
    expect(tileTermsOf(tile({}), "forward", registers)).toEqual([1, 64 * 64, 4, 48 * 64, 48 * 64, 48 * 64 * 64]);
  });

  it("pay for the whole last vector of keys", () => {
    const terms = tileTermsOf(tile({ keys: 50 }), "forward", registers);
    expect(term(terms, "forward", "pair")).toBe(48 * 64);
    expect(term(terms, "forward", "keyWidth")).toBe(50 * 64);
  });

  it("take the query heads of a kv head together", () => {
    const together = tileTermsOf(tile({ queries: 3, groupSize: 4 }), "forward", registers);
    expect(term(together, "forward", "strip")).toBe(1);
    expect(term(together, "forward", "pair")).toBe(12 * 64);
  });

  it("pack a tile's keys once for all rows, in blocks that rows pass over one after another", () => {
    const terms = tileTermsOf(tile({ queries: 24, keys: 1000 }), "forward", registers);
    expect(term(terms, "forward", "keyWidth")).toBe(1000 * 64);
    // Three blocks of at most 384 keys, two strips.
    expect(term(terms, "forward", "strip")).toBe(6);
  });

  it.each(["forward", "backward"] as const)(
    "cover every unmasked pair of a causal tile, %s, and no more than whole tiles of them",
    (pass) => {
      const size = fc.integer({ min: 1, max: 700 });
      fc.assert(
        fc.property(size, size, fc.integer({ min: 1, max: 4 }), (queries, offset, groupSize) => {
          const keys = queries + offset;
          const terms = tileTermsOf(tile({ queries, keys, causalOffset: offset, groupSize }), pass, registers);
          let pairs = 0;
          for (let query = 0; query < queries; query++) pairs += groupSize * (query + offset + 1);
          const paid = term(terms, pass, "pair");
          expect(paid).toBeGreaterThanOrEqual(pairs);
          // A strip of 12 rows sees at most 12 keys more than its first row, and a vector has 15 more; the last strip has 4 rows.
          const strips =
            Math.ceil((queries * groupSize) / 12) + Math.ceil(keys / 192) * Math.ceil((queries * groupSize) / 144);
          expect(paid).toBeLessThanOrEqual(pairs + strips * 12 * (keys + 32));
        }),
      );
    },
  );

  it("of a causal tile are fewer than those of the whole rectangle", () => {
    for (const pass of ["forward", "backward"] as const) {
      const square = tile({ queries: 600, keys: 600, groupSize: 2 });
      const causal = tileTermsOf({ ...square, causalOffset: 0 }, pass, registers);
      const full = tileTermsOf(square, pass, registers);
      const share = term(causal, pass, "pair") / term(full, pass, "pair");
      expect(share).toBeGreaterThan(0.5);
      expect(share).toBeLessThan(0.6);
    }
  });
});
