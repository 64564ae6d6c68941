import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  InputError,
  lengthsOf,
  type Pack,
  packBestFit,
  packers,
  packFirstFitDecreasing,
  packInOrder,
  tokensOf,
} from "../src/index.ts";

const everyPacker = [
  ...Object.entries(packers),
  [
    "in-order, cut at borders",
    (lengths: number[], options: { tokens: number }) => packInOrder(lengths, { ...options, atBorder: "cut" }),
  ],
] as [string, (lengths: number[], options: { tokens: number }) => Pack[]][];

const lengthsAndTokens = fc.tuple(
  fc.array(fc.integer({ min: 1, max: 60 }), { minLength: 1, maxLength: 40 }),
  fc.integer({ min: 1, max: 50 }),
);

describe.each(everyPacker)("the packer %s", (_, pack) => {
  it("keeps every token of every document exactly once", () => {
    fc.assert(
      fc.property(lengthsAndTokens, ([lengths, tokens]) => {
        const seen = lengths.map((length) => new Array<number>(length).fill(0));
        for (const { pieces } of pack(lengths, { tokens })) {
          for (const { document, start, end } of pieces) for (let i = start; i < end; ++i) ++seen[document][i];
        }
        expect(seen).toEqual(lengths.map((length) => new Array<number>(length).fill(1)));
      }),
    );
  });

  it("makes no pack over its size, and no empty one", () => {
    fc.assert(
      fc.property(lengthsAndTokens, ([lengths, tokens]) => {
        for (const { batch } of pack(lengths, { tokens })) expect(tokensOf(batch)).toBeLessThanOrEqual(tokens);
        for (const { pieces } of pack(lengths, { tokens })) expect(pieces.length).toBeGreaterThan(0);
      }),
    );
  });

  it("makes batches of just its pieces", () => {
    fc.assert(
      fc.property(lengthsAndTokens, ([lengths, tokens]) => {
        for (const { batch, pieces } of pack(lengths, { tokens })) {
          expect(Array.from(lengthsOf(batch))).toEqual(pieces.map(({ start, end }) => end - start));
        }
      }),
    );
  });

  it("packs the same documents the same way twice", () => {
    fc.assert(
      fc.property(lengthsAndTokens, ([lengths, tokens]) => {
        expect(pack(lengths, { tokens })).toEqual(pack(lengths, { tokens }));
      }),
    );
  });

  it("refuses a pack size that is not a whole number of tokens", () => {
    expect(() => pack([5], { tokens: 0 })).toThrow(
      new InputError("invalid length: 0 at option tokens (must be a whole number from 1 to 2147483647)"),
    );
  });

  it("refuses a length that is none", () => {
    expect(() => pack([5, 2.5], { tokens: 10 })).toThrow(InputError);
    expect(() => pack([5, 2.5], { tokens: 10 })).toThrow("invalid length: 2.5 at document 1");
  });
});

describe("packing in order", () => {
  it("moves a document that does not fit to the next pack", () => {
    expect(shapes(packInOrder([6, 5, 4], { tokens: 10 }))).toEqual([[6], [5, 4]]);
  });

  it("cuts it where that is asked for, so that every pack but the last is full", () => {
    expect(shapes(packInOrder([6, 5, 14, 2], { tokens: 10, atBorder: "cut" }))).toEqual([
      [6, 4],
      [1, 9],
      [5, 2],
    ]);
    fc.assert(
      fc.property(lengthsAndTokens, ([lengths, tokens]) => {
        const packs = packInOrder(lengths, { tokens, atBorder: "cut" });
        for (const { batch } of packs.slice(0, -1)) expect(tokensOf(batch)).toBe(tokens);
      }),
    );
  });

  it("splits a document longer than the pack", () => {
    expect(shapes(packInOrder([23, 4], { tokens: 10 }))).toEqual([[10], [10], [3, 4]]);
  });

  it("refuses such a document where that is asked for", () => {
    expect(() => packInOrder([3, 11], { tokens: 10, overlong: "refuse" })).toThrow(
      new InputError("invalid length: 11 at document 1 (a pack holds 10 tokens)"),
    );
  });
});

describe("first-fit decreasing", () => {
  it("puts the longest documents first, each into the first pack it fits", () => {
    expect(shapes(packFirstFitDecreasing([2, 5, 4, 7, 1], { tokens: 10 }))).toEqual([
      [7, 2, 1],
      [5, 4],
    ]);
  });

  it("needs at most 11/9 of the fewest packs + 6/9", () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 20 }), { minLength: 1, maxLength: 7 }), (lengths) => {
        const packs = packFirstFitDecreasing(lengths, { tokens: 20 }).length;
        expect(packs).toBeLessThanOrEqual((11 / 9) * fewestPacks(lengths, 20) + 6 / 9);
      }),
    );
  });
});

describe("best fit", () => {
  it("puts a document where the fewest tokens stay free", () => {
    expect(shapes(packBestFit([6, 8, 2, 4], { tokens: 10 }))).toEqual([
      [6, 4],
      [8, 2],
    ]);
  });

  it("takes the oldest of equally good packs", () => {
    expect(shapes(packBestFit([8, 8, 2], { tokens: 10 }))).toEqual([[8, 2], [8]]);
  });
});

function shapes(packs: Pack[]): number[][] {
  return packs.map(({ batch }) => Array.from(lengthsOf(batch)));
}

/** By trying each document in every pack: for a handful of documents. */
function fewestPacks(lengths: number[], tokens: number): number {
  let fewest = lengths.length;
  const left: number[] = [];
  const place = (document: number): void => {
    if (left.length >= fewest) return;
    if (document === lengths.length) {
      fewest = left.length;
      return;
    }
    for (let pack = 0; pack < left.length; ++pack) {
      if (left[pack] < lengths[document]) continue;
      left[pack] -= lengths[document];
      place(document + 1);
      left[pack] += lengths[document];
    }
    left.push(tokens - lengths[document]);
    place(document + 1);
    left.pop();
  };
  place(0);
  return fewest;
}
