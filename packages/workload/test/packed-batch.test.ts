import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { documentAt, documentsOf, InputError, lengthsOf, maxTokens, packedBatch, tokensOf } from "../src/index.ts";

describe("a packed batch", () => {
  it("lays documents end to end from 0", () => {
    expect(packedBatch([3, 1, 7]).cuSeqlens).toEqual(Int32Array.of(0, 3, 4, 11));
  });

  it("counts its documents and tokens", () => {
    const batch = packedBatch([3, 1, 7]);
    expect([documentsOf(batch), tokensOf(batch)]).toEqual([3, 11]);
  });

  it("gives back the lengths it was made of", () => {
    fc.assert(
      fc.property(someLengths, (lengths) => {
        expect(Array.from(lengthsOf(packedBatch(lengths)))).toEqual(lengths);
      }),
    );
  });

  it("finds the document of every token", () => {
    fc.assert(
      fc.property(someLengths, (lengths) => {
        const batch = packedBatch(lengths);
        const expected = lengths.flatMap((length, document) => Array<number>(length).fill(document));
        const found = expected.map((_, token) => documentAt(batch, token));
        expect(found).toEqual(expected);
      }),
    );
  });

  it.each([-1, 11, Number.NaN])("has no document at token %d of 11", (token) => {
    expect(() => documentAt(packedBatch([3, 1, 7]), token)).toThrow(`invalid token: ${token} (the batch holds 11)`);
  });

  it("takes as many tokens as int32 holds", () => {
    expect(tokensOf(packedBatch([maxTokens - 1, 1]))).toBe(2147483647);
  });

  it.each([
    [[4, 0], "invalid length: 0 at document 1 (must be a whole number from 1 to 2147483647)"],
    [[-5], "invalid length: -5 at document 0 (must be a whole number from 1 to 2147483647)"],
    [[1, 2, 2.5], "invalid length: 2.5 at document 2 (must be a whole number from 1 to 2147483647)"],
    [[Number.NaN], "invalid length: NaN at document 0 (must be a whole number from 1 to 2147483647)"],
    [[2 ** 31], "invalid length: 2147483648 at document 0 (must be a whole number from 1 to 2147483647)"],
    [
      [maxTokens, 1],
      "invalid length: 1 at document 1 (the batch would hold 2147483648 tokens, int32 allows 2147483647)",
    ],
    [[], "invalid documents: 0 (a batch has at least 1 document)"],
  ])("refuses lengths %j in one line with value and document", (lengths, message) => {
    expect(() => packedBatch(lengths)).toThrow(new InputError(message));
  });

  const someLengths = fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 30 });
});
