import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  corpusLengths,
  corpusNames,
  fillPack,
  InputError,
  lengthsOf,
  mixedStream,
  mixes,
  mixNames,
  mixPack,
  namedPack,
  packNames,
  seededRandom,
  shuffledStream,
  streamOfLaw,
  tokensOf,
} from "../src/index.ts";

describe("filling a pack", () => {
  it("takes documents in order and cuts the last one", () => {
    expect(lengths(fillPack(repeating([4, 5, 6]), { tokens: 12 }))).toEqual([4, 5, 3]);
  });

  it("cuts documents at the longest length allowed", () => {
    expect(lengths(fillPack(repeating([9, 2]), { tokens: 10, longest: 4 }))).toEqual([4, 2, 4]);
  });

  it("fills exactly the tokens asked for, whatever the documents", () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 1, max: 99 }), { minLength: 1 }),
        fc.integer({ min: 1, max: 999 }),
        (docs, tokens) => {
          expect(tokensOf(fillPack(repeating(docs), { tokens }))).toBe(tokens);
        },
      ),
    );
  });

  it.each([
    [{ tokens: 0 }, "invalid length: 0 at option tokens"],
    [{ tokens: 2.5 }, "invalid length: 2.5 at option tokens"],
    [{ tokens: 5, longest: -1 }, "invalid length: -1 at option longest"],
  ])("refuses %j", (options, message) => {
    expect(() => fillPack(repeating([3]), options)).toThrow(InputError);
    expect(() => fillPack(repeating([3]), options)).toThrow(message);
  });
});

describe("streams of documents", () => {
  it("give every document once before any comes again", () => {
    fc.assert(
      fc.property(
        fc.uniqueArray(fc.integer({ min: 1 }), { minLength: 1, maxLength: 20 }),
        fc.nat(),
        (documents, seed) => {
          const stream = shuffledStream(documents, seededRandom(seed));
          for (let epoch = 0; epoch < 3; ++epoch) {
            expect(new Set(documents.map(() => stream()))).toEqual(new Set(documents));
          }
        },
      ),
    );
  });

  it("mix in proportion to the weights, by documents", () => {
    const random = seededRandom(2);
    const parts = [
      { weight: 3, stream: streamOfLaw({ kind: "fixed", tokens: 10 }, random) },
      { weight: 1, stream: streamOfLaw({ kind: "fixed", tokens: 70 }, random) },
      { weight: 0, stream: streamOfLaw({ kind: "fixed", tokens: 99 }, random) },
    ];
    const stream = mixedStream(parts, random);
    const drawn = Array.from({ length: 20_000 }, stream);
    expect(drawn.filter((length) => length === 70).length / drawn.length).toBeCloseTo(0.25, 1);
    expect(drawn).not.toContain(99);
  });

  it("refuse to be mixed without a weight", () => {
    expect(() => mixedStream([], seededRandom(1))).toThrow(new InputError("invalid mix: no part has a weight above 0"));
    expect(() => mixedStream([{ weight: -1, stream: () => 1 }], seededRandom(1))).toThrow(
      new InputError("invalid weight: -1 (must be at least 0)"),
    );
  });
});

describe("the corpora", () => {
  // Documents, total tokens and longest document as counted in lengths/SOURCES.md.
  it.each([
    ["instruct_gsm8k", 7_473, 1_170_406, 457],
    ["instruct_t0", 50_000, 11_634_429, 5_752],
    ["chat_alpacaeval", 50_000, 18_025_562, 6_131],
    ["chat_sharegpt", 1_000, 1_413_122, 3_907],
    ["dialog_sgd", 17_193, 4_521_017, 857],
    ["tooluse_tau_airline", 200, 718_536, 10_079],
    ["meetings_qmsum", 232, 2_988_513, 35_246],
    ["docs_peps", 736, 3_292_802, 27_082],
    ["code_git", 2_438, 6_787_159, 77_794],
    ["books_classic", 754, 75_495_190, 744_359],
  ] as const)("hold the documents of %s that their sources state", (name, documents, tokens, longest) => {
    const all = corpusLengths(name);
    const sum = all.reduce((total, length) => total + length, 0);
    expect([all.length, sum, Math.max(...all)]).toEqual([documents, tokens, longest]);
  });

  it("are ten", () => {
    expect(corpusNames.length).toBe(10);
  });
});

describe("the mixes", () => {
  it.each(mixNames)("fill a pack of %s exactly, the same for the same seed and another for the next", (name) => {
    const pack = (seed: number) => lengths(mixPack(name, { tokens: 65_536, seed }));
    expect(pack(5).reduce((sum, length) => sum + length, 0)).toBe(65_536);
    expect(pack(5)).toEqual(pack(5));
    if (name !== "single") expect(pack(5)).not.toEqual(pack(6));
  });

  it.each(mixNames)("have weights of %s that sum to 1", (name) => {
    const weights: number[] = mixes[name].parts.map(({ weight }) => weight);
    expect(weights.reduce((sum, weight) => sum + weight, 0)).toBeCloseTo(1, 12);
  });

  it("cut hybrid and magilaw documents at a quarter of the pack", () => {
    for (const name of ["hybrid", "magilaw"]) {
      for (let seed = 0; seed < 20; ++seed) {
        expect(Math.max(...lengths(mixPack(name, { tokens: 4096, seed })))).toBeLessThanOrEqual(1024);
      }
    }
  });

  it("cut documents where the caller says", () => {
    expect(Math.max(...lengths(mixPack("books", { tokens: 8192, seed: 1, longest: 2048 })))).toBe(2048);
  });

  it("refuse a name that is none", () => {
    expect(() => mixPack("hybird", { tokens: 10, seed: 1 })).toThrow(
      new InputError("unknown mix: hybird (known: hybrid, instruct, chat, code, meetings, books, magilaw, single)"),
    );
  });
});

describe("the fixed packs", () => {
  it("hold 8192 tokens for each rank", () => {
    expect(packNames().length).toBe(24);
    for (const name of packNames()) expect(tokensOf(namedPack(name))).toBe(8192 * Number(name.split("-")[1]));
  });

  it("refuse a name that is none", () => {
    expect(() => namedPack("hybrid-65")).toThrow(InputError);
    expect(() => namedPack("../package")).toThrow(/^unknown pack: \.\.\/package \(known: code-16, /);
  });
});

function lengths(batch: { cuSeqlens: Int32Array }): number[] {
  return Array.from(lengthsOf(batch));
}

function repeating(values: readonly number[]): () => number {
  let next = 0;
  return () => values[next++ % values.length];
}
