import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { rowNumbers, sortByKey } from "../src/radix-sort.ts";

const anyKeys = fc.oneof(
  fc.array(fc.nat(5), { maxLength: 200 }),
  fc.array(fc.integer({ min: 0, max: 2 ** 32 - 1 }), { maxLength: 200 }),
);

describe("sortByKey", () => {
  it("sorts rows by their keys and keeps the order of equal ones, few or many", () => {
    fc.assert(
      fc.property(anyKeys, fc.constantFrom(1, 30), (some, times) => {
        const keys = Uint32Array.from(Array.from({ length: times }, () => some).flat());
        const order = rowNumbers(keys.length).reverse();
        const expected = [...order].sort((a, b) => keys[a] - keys[b]);
        sortByKey(order, keys);
        expect([...order]).toEqual(expected);
      }),
    );
  });

  it("sorts only as many rows as it is told", () => {
    const order = Int32Array.of(2, 1, 0, 3);
    sortByKey(order, Uint32Array.of(5, 6, 7, 1), 3);
    expect([...order]).toEqual([0, 1, 2, 3]);
  });
});
