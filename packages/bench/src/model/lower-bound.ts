import {
  attentionProblemOf,
  cheapTensors,
  dataGroups,
  equationsOf,
  layerParameters,
  type ModelProblem,
  madeAgain,
  parametersOf,
  recomputationOf,
  stageTensors,
} from "@hsap/model";
import { bytesPerElement, type Degrees, flopsOf, type TensorSpec, wireBytesOf } from "@hsap/schedule";
import { type Hardware, namedEntry } from "@hsap/simulator";
import { tokensOf } from "@hsap/workload";

/**
 * Milliseconds below which no step with such degrees can be simulated, without compiling anything. The group with the most to do splits it
 * evenly over its ranks: matrix products and attention at the device's rates for them, and what norms, activations and residuals move at
 * its memory's rate. What tensor ranks gather before and scatter after each part of a layer, 4 (T-1)/T of a place's rows forward and 6
 * backward, comes over the fastest links while nothing is computed, but for one of them, which may come while the activation is made again;
 * and for all of them where the problem lets them overlap products.
 */
export function stepLowerBoundMs(problem: ModelProblem, degrees: Degrees, hardware: Hardware, kernel?: string): number {
  const { model, cluster, dtype } = problem;
  const { data = 1, tensor = 1 } = degrees;
  const ranks = cluster.ranks / data;
  const passes = recomputationOf(problem) === "full" ? 2 : 1;
  const groups = dataGroups(problem, data).groups.map(({ batch }) => {
    const computeMs = computationMs({ ...problem, batch }, hardware, kernel) / ranks;
    if (problem.overlap === true) return computeMs;
    const rows = (tokensOf(batch) * tensor) / ranks;
    const exchanges = (4 * passes + 5) * model.layers;
    const bytes = exchanges * ((tensor - 1) / tensor) * rows * model.hidden * bytesPerElement[dtype];
    return computeMs + bytes / (cluster.levels[0].bandwidthGBps * 1e6);
  });
  return Math.max(...groups);
}

/** What all ranks of a group have to compute at least, together. */
function computationMs(problem: ModelProblem, { matrix, kernels, memory }: Hardware, kernel?: string): number {
  const { model, batch, cluster } = problem;
  const { peakTflops, memoryBandwidthGBps = Number.POSITIVE_INFINITY } = cluster.device;
  const { forward, backward } = namedEntry("kernel", kernels, kernel).entry;
  const forwards = recomputationOf(problem) === "full" ? 2 : 1;
  const tokens = tokensOf(batch);
  const layerFlops = (2 * forwards + 4) * model.layers * (layerParameters(model) - 2 * model.hidden) * tokens;
  const headFlops = 6 * model.vocabulary * model.hidden * tokens;
  const attentionFlops = model.layers * flopsOf(attentionProblemOf(problem, "forward"));
  // Unfused attention computes its backward pass at the rate of the forward pass.
  const backwardShare = Math.max(forward.shareOfPeak, backward.shareOfPeak);
  const flopsAtPeak =
    (layerFlops + headFlops) / (matrix?.shareOfPeak ?? 1) +
    attentionFlops * (forwards / forward.shareOfPeak + 2.5 / backwardShare);
  const movedBytes =
    model.layers * (forwards * movedRowBytes(problem, "layerForward") + movedRowBytes(problem, "layerBackward"));
  const movedMs = (movedBytes * tokens) / (memoryBandwidthGBps * memory.copyShare * 1e6);
  return flopsAtPeak / (peakTflops * 1e9) + movedMs;
}

/** Bytes that the ops of a layer which are no products read and write for each token, each operand once. */
function movedRowBytes(problem: ModelProblem, stage: "layerForward" | "layerBackward"): number {
  const tensors = new Map(stageTensors(problem, stage, []).map((spec) => [spec.name, spec]));
  let bytes = 0;
  for (const { op, reads, writes } of equationsOf(stage, madeAgain(problem))) {
    if (op.startsWith("linear")) continue;
    for (const name of [...reads, ...writes]) {
      const spec = tensors.get(name);
      if (spec !== undefined && spec.rows === undefined) bytes += spec.heads * wireBytesOf(spec);
    }
  }
  return bytes;
}

/**
 * Bytes below which the fullest rank's memory cannot be, without compiling anything: weights, gradients and the optimiser's state spread over
 * all ranks, and what is kept of the tokens of the group with the most spread over its ranks.
 */
export function stepLowerBoundBytes(problem: ModelProblem, { data = 1 }: Degrees): number {
  const { model, cluster, dtype } = problem;
  const { hidden, heads, headDim, ffn, vocabulary, layers } = model;
  // A rank may have one row less of a weight than the mean.
  const leastShare = Math.max(0, 1 - cluster.ranks / Math.min(hidden, heads * headDim, ffn, vocabulary));
  const fixed = dtype === "bf16" ? 2 + 4 + 12 : 4 + 4 + 8;
  const tokens = Math.max(...dataGroups(problem, data).groups.map((group) => tokensOf(group.batch)));
  // Sums of the forward stage are kept in the dtype of their numbers.
  const held = (spec: TensorSpec) => spec.heads * wireBytesOf(spec);
  const tensors = stageTensors(problem, "layerForward", cheapTensors);
  const kept = tensors.filter(({ name, role, rows }) => role === "output" && rows === undefined && name !== "y");
  const keptBytes = kept.reduce((sum, spec) => sum + held(spec), 0);
  const stateBytes = tensors.filter(({ name }) => name === "x").reduce((sum, spec) => sum + held(spec), 0);
  const rowBytes = (layers + 1) * stateBytes + (recomputationOf(problem) === "full" ? 1 : layers) * keptBytes;
  return (fixed * parametersOf(model) * leastShare) / cluster.ranks + (rowBytes * tokens * data) / cluster.ranks;
}
