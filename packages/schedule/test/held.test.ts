import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Held, type Rectangle } from "../src/verify/held.ts";

const [tokens, heads] = [7, 4];

const anyRectangle: fc.Arbitrary<Rectangle> = fc
  .tuple(fc.nat(tokens - 1), fc.nat(tokens - 1), fc.nat(heads - 1), fc.nat(heads - 1))
  .map(([a, b, c, d]) => ({
    ...{ tokenBegin: Math.min(a, b), tokenEnd: Math.max(a, b) + 1 },
    ...{ headBegin: Math.min(c, d), headEnd: Math.max(c, d) + 1 },
  }));

/** The same as `Held`, cell by cell. */
class Grid {
  readonly cells: (number | undefined)[] = new Array(tokens * heads).fill(undefined);

  at(rows: Rectangle): number[] {
    const found: number[] = [];
    for (let token = rows.tokenBegin; token < rows.tokenEnd; token++)
      for (let head = rows.headBegin; head < rows.headEnd; head++) found.push(token * heads + head);
    return found;
  }
}

function contentsOf(held: Held): (number | undefined)[] {
  const grid = new Grid();
  const all = { tokenBegin: 0, tokenEnd: tokens, headBegin: 0, headEnd: heads };
  held.read(all, (content, piece) => {
    for (const cell of grid.at(piece)) {
      expect(grid.cells[cell]).toBeUndefined();
      grid.cells[cell] = content;
    }
  });
  return grid.cells;
}

describe("Held", () => {
  it("holds what a grid of cells holds, whatever is assigned, updated and joined", () => {
    const anyStep = fc.tuple(
      fc.constantFrom("assign", "update", "updateWith"),
      anyRectangle,
      fc.integer({ min: 1, max: 3 }),
    );
    fc.assert(
      fc.property(fc.array(anyStep, { maxLength: 8 }), anyRectangle, (steps, probe) => {
        const [held, other] = [new Held(), new Held()];
        const [grid, otherGrid] = [new Grid(), new Grid()];
        steps.forEach(([kind, rows, value], i) => {
          // Every third step changes the other of the two.
          const [a, b, gridA, gridB] = i % 3 === 2 ? [other, held, otherGrid, grid] : [held, other, grid, otherGrid];
          if (kind === "assign") a.assign(rows, value);
          else if (kind === "update") a.update(rows, (content) => 10 * content + value);
          else a.updateWith(b, rows, (content, others) => [content + 2 * others + value, others + 1]);
          for (const cell of gridA.at(rows)) {
            const [content, others] = [gridA.cells[cell] ?? 0, gridB.cells[cell] ?? 0];
            if (kind === "assign") gridA.cells[cell] = value;
            else if (kind === "update") gridA.cells[cell] = 10 * content + value;
            else {
              gridA.cells[cell] = content + 2 * others + value;
              gridB.cells[cell] = others + 1;
            }
          }
        });
        expect(contentsOf(held)).toEqual(grid.cells);
        expect(contentsOf(other)).toEqual(otherGrid.cells);
        const cells = grid.at(probe).map((cell) => grid.cells[cell]);
        expect(held.read(probe)).toBe(cells.every((content) => content !== undefined));
        for (const content of [1, 2, 3])
          expect(held.holdsOnly(probe, content)).toBe(cells.every((cell) => cell === content));
      }),
      { numRuns: 500 },
    );
  });
});
