import { type Equation, equation, type TensorRole, type TensorSpec } from "@hsap/schedule";
import type { ModelProblem } from "./model-problem.ts";
import { ffnGroups } from "./presets.ts";
import { type CheapTensor, cheapTensors, madeAgain } from "./recomputation.ts";

/** The schedules that a step is made of; those of a layer run once for each layer. */
export const stageNames = ["embedding", "layerForward", "loss", "layerBackward", "embeddingBackward"] as const;
export type StageName = (typeof stageNames)[number];

/** Those that follow the optimiser's step, for each layer and for both ends together. */
export const updateStageNames = ["layerUpdate", "endUpdate"] as const;
export type UpdateStageName = (typeof updateStageNames)[number];

/** Weights of one layer, and of the model's two ends, in the order in which they are used. */
export const layerWeights = ["g1", "wq", "wk", "wv", "wo", "g2", "wg", "wu", "wd"] as const;
export const endWeights = ["e", "gf", "head"] as const;
export type WeightName = (typeof layerWeights)[number] | (typeof endWeights)[number];

/** What a layer's forward stage always leaves for its backward stage, besides its input x. */
const dearTensors = ["q", "k", "v", "o", "lse", "h", "gate", "up"] as const;

/** What it leaves where the backward stage makes `again` itself. */
export const savedTensors = (again: readonly CheapTensor[]): string[] => [
  ...dearTensors,
  ...cheapTensors.filter((name) => !again.includes(name)),
];

/** The gradient of a weight: `dwq`. */
export const gradientOf = (weight: string): string => `d${weight}`;

/** What each stage computes, whole tensors at a time, where the backward stage makes `again` itself. Attention is what its problem says. */
export function equationsOf(stage: StageName, again: readonly CheapTensor[], tensor = 1): readonly Equation[] {
  if (stage === "loss" && tensor > 1) return splitLoss;
  if (stage !== "layerBackward") return stageEquations[stage];
  const found: readonly string[] = cheapTensors.filter((name) => !again.includes(name));
  return stageEquations[stage].filter(({ writes }) => !writes.some((name) => found.includes(name)));
}

/** With a backward stage that makes all that is cheap again. */
const stageEquations: Readonly<Record<StageName, readonly Equation[]>> = {
  embedding: [equation("embed", "ids e", "x")],
  layerForward: [
    equation("rmsNorm", "x g1", "n1"),
    equation("linear", "n1 wq", "q0"),
    equation("rotary", "q0", "q"),
    equation("linear", "n1 wk", "k0"),
    equation("rotary", "k0", "k"),
    equation("linear", "n1 wv", "v"),
    equation("add", "x", "h"),
    equation("linear", "o wo", "h"),
    equation("rmsNorm", "h g2", "n2"),
    equation("linear", "n2 wg", "gate"),
    equation("linear", "n2 wu", "up"),
    equation("swiglu", "gate up", "m"),
    equation("add", "h", "y"),
    equation("linear", "m wd", "y"),
  ],
  loss: [
    equation("rmsNorm", "x gf", "n"),
    equation("linear", "n head", "logits"),
    equation("crossEntropy", "logits labels", "loss dlogits"),
    equation("linearInputGradient", "dlogits head", "dn"),
    equation("linearWeightGradient", "n dlogits", "dhead"),
    equation("rmsNormGradient", "x gf dn", "dx dgf"),
  ],
  layerBackward: [
    equation("swiglu", "gate up", "m"),
    equation("linearInputGradient", "dy wd", "dm"),
    equation("linearWeightGradient", "m dy", "dwd"),
    equation("swigluGradient", "gate up dm", "dgate dup"),
    equation("rmsNorm", "h g2", "n2"),
    equation("linearWeightGradient", "n2 dgate", "dwg"),
    equation("linearWeightGradient", "n2 dup", "dwu"),
    equation("linearInputGradient", "dgate wg", "dn2"),
    equation("linearInputGradient", "dup wu", "dn2"),
    equation("add", "dy", "dh"),
    equation("rmsNormGradient", "h g2 dn2", "dh dg2"),
    equation("linearInputGradient", "dh wo", "do"),
    equation("linearWeightGradient", "o dh", "dwo"),
    equation("rowDot", "o do", "delta"),
    equation("rotaryGradient", "dq", "dq0"),
    equation("rotaryGradient", "dk", "dk0"),
    equation("rmsNorm", "x g1", "n1"),
    equation("linearWeightGradient", "n1 dq0", "dwq"),
    equation("linearWeightGradient", "n1 dk0", "dwk"),
    equation("linearWeightGradient", "n1 dv", "dwv"),
    equation("linearInputGradient", "dq0 wq", "dn1"),
    equation("linearInputGradient", "dk0 wk", "dn1"),
    equation("linearInputGradient", "dv wv", "dn1"),
    equation("add", "dh", "dx"),
    equation("rmsNormGradient", "x g1 dn1", "dx dg1"),
  ],
  embeddingBackward: [equation("embedGradient", "ids dx", "de")],
};

/** The loss where the columns of the logits are split between tensor ranks. */
const splitLoss: readonly Equation[] = stageEquations.loss.flatMap((each) =>
  each.op === "crossEntropy"
    ? [equation("rowLogSumExp", "logits", "z"), equation("splitCrossEntropy", "logits labels z", "loss dlogits")]
    : [each],
);

/** What tensor ranks each have a share of, at the ends of a model: sums, though of one term. */
const splitSums = ["loss.loss", "loss.dn", "embedding.x"];

/** Tensors that a stage finds, and those that it leaves; weights and their gradients are elsewhere. */
function endsOf(stage: StageName, again: readonly CheapTensor[]): { inputs: string[]; outputs: string[] } {
  const saved = savedTensors(again);
  const ends: Record<StageName, { inputs: string[]; outputs: string[] }> = {
    embedding: { inputs: ["ids"], outputs: ["x"] },
    layerForward: { inputs: ["x"], outputs: ["y", ...saved] },
    loss: { inputs: ["x", "labels"], outputs: ["loss", "dx"] },
    layerBackward: { inputs: ["x", "dy", ...saved], outputs: ["dx"] },
    embeddingBackward: { inputs: ["ids", "dx"], outputs: [] },
  };
  return ends[stage];
}

/** Weights that a stage reads, and those of which it makes the gradient. */
export const stageWeights: Readonly<
  Record<StageName, { reads: readonly WeightName[]; gradients: readonly WeightName[] }>
> = {
  embedding: { reads: ["e"], gradients: [] },
  layerForward: { reads: layerWeights, gradients: [] },
  loss: { reads: ["gf", "head"], gradients: ["gf", "head"] },
  layerBackward: { reads: layerWeights, gradients: layerWeights },
  embeddingBackward: { reads: [], gradients: ["e"] },
};

/** Rows, column groups and columns of each group of a weight; the head has a group for each of `tensor` ranks. */
export function weightShape({ model }: Pick<ModelProblem, "model">, weight: WeightName, tensor = 1) {
  const { hidden, heads, kvHeads, headDim, ffn, vocabulary } = model;
  const groups = ffnGroups(model);
  const shapes: Record<WeightName, readonly [rows: number, heads: number, width: number]> = {
    g1: [hidden, 1, 1],
    g2: [hidden, 1, 1],
    gf: [hidden, 1, 1],
    wq: [hidden, heads, headDim],
    wk: [hidden, kvHeads, headDim],
    wv: [hidden, kvHeads, headDim],
    wo: [heads * headDim, 1, hidden],
    wg: [hidden, groups, ffn / groups],
    wu: [hidden, groups, ffn / groups],
    wd: [ffn, 1, hidden],
    e: [vocabulary, 1, hidden],
    head: [hidden, tensor, vocabulary / tensor],
  };
  const [rows, columnGroups, width] = shapes[weight];
  return { rows, heads: columnGroups, width };
}

/**
 * Tensors of a stage with their roles, where the backward stage makes `again` itself and `tensor` ranks split columns; those to which
 * several terms are added are sums, and held in fp32.
 */
export function stageTensors(
  problem: ModelProblem,
  stage: StageName,
  again: readonly CheapTensor[] = madeAgain(problem),
  tensor = 1,
): TensorSpec[] {
  const equations = equationsOf(stage, again, tensor);
  const ends = endsOf(stage, again);
  const names = new Set([...ends.inputs, ...equations.flatMap(({ reads, writes }) => [...reads, ...writes])]);
  if (stage === "layerForward") for (const name of ["o", "lse"]) names.add(name);
  if (stage === "layerBackward") for (const name of ["q", "k", "v", "lse", "dq", "dk", "dv"]) names.add(name);
  const { reads, gradients } = stageWeights[stage];
  const isWeight = (name: string) => (reads as readonly string[]).includes(name);
  const weightOf = new Map<string, WeightName>(gradients.map((weight) => [gradientOf(weight), weight]));
  return [...names].map((name) => {
    if (isWeight(name))
      return {
        name,
        ...weightShape(problem, name as WeightName, tensor),
        dtype: problem.dtype,
        role: "input",
        accumulates: false,
      };
    const weight = weightOf.get(name);
    if (weight !== undefined)
      return { name, ...weightShape(problem, weight, tensor), dtype: "fp32", role: "output", accumulates: true };
    const role = roleOf(ends, name);
    const terms = equations.filter(({ writes }) => writes.includes(name)).length;
    const isAttentionSum = terms === 0 && role !== "input";
    const isSplitSum = tensor > 1 && splitSums.includes(`${stage}.${name}`);
    const accumulates = role !== "input" && (isAttentionSum || isSplitSum || terms > 1);
    return { name, ...activationShape(problem, name, tensor), role, accumulates };
  });
}

function roleOf({ inputs, outputs }: ReturnType<typeof endsOf>, name: string): TensorRole {
  if (inputs.includes(name)) return "input";
  return outputs.includes(name) ? "output" : "internal";
}

function activationShape(
  { model, dtype }: ModelProblem,
  name: string,
  tensor: number,
): Pick<TensorSpec, "heads" | "width" | "dtype"> {
  const { hidden, heads, kvHeads, headDim, ffn, vocabulary } = model;
  const groups = ffnGroups(model);
  const base = name.replace(/^d(?!elta|q0|k0)/, "");
  switch (base) {
    case "q":
    case "q0":
    case "dq0":
    case "o":
      return { heads, width: headDim, dtype };
    case "k":
    case "k0":
    case "dk0":
    case "v":
      return { heads: kvHeads, width: headDim, dtype };
    case "lse":
    case "delta":
      return { heads, width: 1, dtype: "fp32" };
    case "gate":
    case "up":
    case "m":
      return { heads: groups, width: ffn / groups, dtype };
    case "logits":
      return { heads: tensor, width: vocabulary / tensor, dtype };
    case "z":
      return { heads: tensor, width: 1, dtype: "fp32" };
    case "ids":
    case "loss":
      return { heads: 1, width: 1, dtype: "fp32" };
    case "labels":
      return { heads: 1, width: 2, dtype: "fp32" };
    default:
      return { heads: 1, width: hidden, dtype };
  }
}
