import { describe, expect, test } from "vitest";
import { experimentKind, experimentNames, parseExperiment, readExperiment } from "../src/experiment/experiment-file.ts";

const whole = `
title: An example
claim: It is one.
baseline: ring
sweep:
  seeds: [1]
  passes: [forward]
  ranks: 4
  ranksPerNode: 2
  heads: 4
  kvHeads: 2
  headDim: 64
  dtype: fp32
  mask: causal
  strategies: [{ strategy: ring }, { strategy: hsap, degrees: all }]
profiles:
  small: { mixes: [code], tokens: 100, repeats: 1 }
  large: { mixes: [code, books], tokens: 1000, repeats: 3, seeds: [1, 2] }
`;

const parse = (text: string, profile = "small") => parseExperiment(text, { name: "example", profile, file: "x.yaml" });

describe("an experiment file", () => {
  test("gives a profile all values of the sweep, its own first", () => {
    expect(parse(whole, "large").sweep).toMatchObject({
      mixes: ["code", "books"],
      tokens: 1000,
      seeds: [1, 2],
      ranks: 4,
    });
    expect(parse(whole).sweep.seeds).toEqual([1]);
  });

  test.each([
    ["a profile it does not have", whole, "tiny", "unknown profile: tiny (example has small, large)"],
    ["an unknown mix", whole.replace("[code]", "[cod]"), "small", 'invalid profiles.small.mixes.0: "cod" in x.yaml'],
    ["a fractional count", whole.replace("ranks: 4", "ranks: 4.5"), "small", "invalid sweep.ranks: 4.5 in x.yaml"],
    [
      "a value that neither part gives",
      whole.replace("  mask: causal\n", ""),
      "small",
      "missing mask: x.yaml, profile small",
    ],
    ["text that is no YAML", "title: [", "small", "invalid YAML: x.yaml"],
    ["a misspelt key", whole.replace("repeats: 1", "repeat: 1"), "small", "x.yaml"],
  ])("is refused with %s, in one line", (_, text, profile, message) => {
    expect(() => parse(text, profile)).toThrow(message);
    expect(() => parse(text, profile)).toThrow(/^[^\n]*$/);
  });
});

describe("the experiments of this project", () => {
  const measured = experimentNames().filter((name) => experimentKind(name) === "measured trials");
  test.each(measured.flatMap((name) => ["smoke", "short", "full"].map((profile) => [name, profile])))(
    "%s has a valid profile %s",
    (name, profile) => {
      const { sweep, baseline } = readExperiment(name, profile);
      expect(sweep.strategies.map(({ strategy }) => strategy)).toContain(baseline);
    },
  );
});
