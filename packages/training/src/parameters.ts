import { endWeights, layerWeights, type ModelShape, type WeightName, weightShape } from "@hsap/model";
import type { Dtype } from "@hsap/schedule";
import { randomNormal, seededRandom } from "@hsap/workload";

/** Tensors of a model by name (`e`, `3.wq`), [column group][row][column]. */
export type ModelTensors = ReadonlyMap<string, Float32Array>;

/** The name of a weight in a model: those of layer 3 are `3.wq` and so on. */
export const weightKey = (weight: WeightName, layer?: number): string =>
  layer === undefined ? weight : `${layer}.${weight}`;

/** Every weight of a model with its key, in the order of the forward pass. */
export function weightsOf(model: ModelShape): { key: string; weight: WeightName }[] {
  const [embedding, ...ends] = endWeights;
  const layers = Array.from({ length: model.layers }, (_, layer) =>
    layerWeights.map((weight) => ({ key: weightKey(weight, layer), weight })),
  );
  const end = (weight: WeightName) => ({ key: weightKey(weight), weight });
  return [end(embedding), ...layers.flat(), ...ends.map(end)];
}

export const elementsOf = (model: ModelShape, weight: WeightName): number => {
  const { rows, heads, width } = weightShape({ model }, weight);
  return rows * heads * width;
};

/**
 * Weights to begin with: normal with deviation 0.02, the two projections back into the residual stream divided by the root of twice the
 * layers (Radford et al., GPT-2), gains 1. The same for the same seed, whatever the strategy.
 */
export function initialParameters(model: ModelShape, seed: number): ModelTensors {
  const random = seededRandom(seed);
  return new Map(
    weightsOf(model).map(({ key, weight }) => {
      const values = new Float32Array(elementsOf(model, weight));
      if (weight.startsWith("g") && weightShape({ model }, weight).width === 1) return [key, values.fill(1)];
      const deviation = weight === "wo" || weight === "wd" ? 0.02 / Math.sqrt(2 * model.layers) : 0.02;
      for (let i = 0; i < values.length; i++) values[i] = deviation * randomNormal(random);
      return [key, values];
    }),
  );
}

/** The numbers that a dtype keeps of weights, ties to even as the engine rounds; the weights themselves for fp32. */
export function roundedTo(dtype: Dtype, tensors: ModelTensors): ModelTensors {
  if (dtype === "fp32") return tensors;
  return new Map(
    [...tensors].map(([key, values]) => {
      const bits = new Uint32Array(Float32Array.from(values).buffer);
      for (let i = 0; i < bits.length; i++) bits[i] = (bits[i] + 0x7fff + ((bits[i] >>> 16) & 1)) & 0xffff0000;
      return [key, new Float32Array(bits.buffer)];
    }),
  );
}

/** A tensor of zeros for every weight. */
export const zerosLike = (tensors: ModelTensors): ModelTensors =>
  new Map([...tensors].map(([key, { length }]) => [key, new Float32Array(length)]));
