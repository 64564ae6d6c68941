import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type CoveredColumns, findCoverFault } from "../src/verify/exact-cover.ts";

const size = 8;

const anyTile = fc
  .tuple(fc.nat(size - 1), fc.nat(size - 1), fc.boolean())
  .map(([a, b, causal]) => ({ begin: Math.min(a, b), end: Math.max(a, b) + 1, causal }));

/** How often each column of a row is covered. */
const counts = (row: number, tiles: readonly Omit<CoveredColumns, "tile">[]): number[] =>
  Array.from(
    { length: size },
    (_, column) =>
      tiles.filter(({ begin, end, causal }) => column >= begin && column < end && (!causal || column <= row)).length,
  );

describe("findCoverFault", () => {
  it("finds a fault exactly where counting every pair does", () => {
    fc.assert(
      fc.property(
        fc.array(anyTile, { maxLength: 4 }),
        fc.boolean(),
        fc.tuple(fc.nat(size - 1), fc.nat(size - 1)),
        (sketches, causal, [a, b]) => {
          const tiles = sketches.map((tile, i) => ({ ...tile, causal: causal || tile.causal, tile: i }));
          const rows = { begin: Math.min(a, b), end: Math.max(a, b) + 1 };
          const isRight = (row: number) =>
            counts(row, tiles).every((count, column) => count === (causal && column > row ? 0 : 1));
          const allRight = Array.from({ length: rows.end - rows.begin }, (_, i) => rows.begin + i).every(isRight);
          const fault = findCoverFault(rows, { begin: 0, end: size, causal }, tiles);
          expect(fault === undefined).toBe(allRight);
        },
      ),
      { numRuns: 2000 },
    );
  });

  it("names rows and columns that are really left out, or really covered twice by the two tiles it names", () => {
    fc.assert(
      fc.property(fc.array(anyTile, { maxLength: 4 }), fc.boolean(), (sketches, causal) => {
        const tiles = sketches.map((tile, i) => ({ ...tile, causal: causal || tile.causal, tile: i }));
        const fault = findCoverFault({ begin: 0, end: size }, { begin: 0, end: size, causal }, tiles);
        if (fault === undefined) return;
        const named = fault.tiles.length === 0 ? tiles : tiles.filter(({ tile }) => fault.tiles.includes(tile));
        const found: number[] = [];
        for (let row = fault.rowBegin; row < fault.rowEnd; row++)
          for (let column = fault.columnBegin; column < fault.columnEnd; column++)
            if (!causal || column <= row) found.push(counts(row, named)[column]);
        const wrong = fault.tiles.length === 0 ? 0 : 2;
        expect(found).toContain(wrong);
      }),
      { numRuns: 1000 },
    );
  });

  it("takes a diagonal tile as the last one, and whole tiles before it", () => {
    const tiles = [
      { begin: 4, end: 8, causal: true, tile: 1 },
      { begin: 0, end: 4, causal: false, tile: 0 },
    ];
    expect(findCoverFault({ begin: 4, end: 8 }, { begin: 0, end: 8, causal: true }, tiles)).toBeUndefined();
    expect(findCoverFault({ begin: 4, end: 9 }, { begin: 0, end: 9, causal: true }, tiles)).toEqual({
      ...{ rowBegin: 8, rowEnd: 9, columnBegin: 8, columnEnd: 9, tiles: [] },
    });
  });
});
