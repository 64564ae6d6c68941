import { describe, expect, it } from "vitest";
import { ffnGroups, layerParameters, modelNamed, modelPresets, parametersOf, weightShape } from "../src/index.ts";
import { endWeights, layerWeights } from "../src/stage.ts";

describe("model presets", () => {
  it.each([
    ["160m", 162_417_408],
    ["1.3b", 1_345_423_360],
    ["7b", 6_738_415_616],
    ["13b", 13_015_864_320],
    ["30b", 32_528_943_616],
    ["70b", 68_976_648_192],
  ])("%s has the published number of weights", (name, weights) => {
    expect(parametersOf(modelNamed(name))).toBe(weights);
  });

  it("count as many weights as their tensors have elements", () => {
    for (const model of modelPresets) {
      const elements = (weights: readonly Parameters<typeof weightShape>[1][]) =>
        weights.reduce((sum, weight) => {
          const { rows, heads, width } = weightShape({ model }, weight);
          return sum + rows * heads * width;
        }, 0);
      expect(elements(layerWeights), model.name).toBe(layerParameters(model));
      expect(model.layers * elements(layerWeights) + elements(endWeights), model.name).toBe(parametersOf(model));
      expect(model.ffn % ffnGroups(model), model.name).toBe(0);
      expect(model.heads % model.kvHeads, model.name).toBe(0);
    }
  });

  it("refuse an unknown name", () => {
    expect(() => modelNamed("8b")).toThrow("unknown model: 8b (known: tiny, 160m, 1.3b, 7b, 13b, 30b, 70b)");
  });
});
