import { dataGroups, type ModelProblem } from "@hsap/model";
import { bytesPerElement, type Degrees } from "@hsap/schedule";
import type { Hardware } from "@hsap/simulator";
import { tokensOf } from "@hsap/workload";
import { modelFlops } from "./model-flops.ts";

/** No collective of any library is faster than so many times its level's bandwidth. */
const fastestLineRate = 1.25;

/**
 * Milliseconds below which no step with such degrees can be simulated, without compiling anything: the group with the most to compute does
 * that at the device's best rate, split evenly over its ranks; and what tensor ranks gather before and scatter after each part of a layer,
 * 4 (T-1)/T of a place's rows forward and 6 backward, comes over the fastest links while nothing is computed.
 */
export function stepLowerBoundMs(problem: ModelProblem, degrees: Degrees, { matrix, kernels }: Hardware): number {
  const { model, cluster, dtype } = problem;
  const { data = 1, tensor = 1 } = degrees;
  const { device, levels } = cluster;
  const shares = Object.values(kernels).flatMap(({ forward, backward }) => [forward.shareOfPeak, backward.shareOfPeak]);
  const best = Math.max(matrix?.shareOfPeak ?? 1, ...shares);
  const ranks = cluster.ranks / data;
  const groups = dataGroups(problem, data).groups.map(({ batch }) => {
    const computeMs = modelFlops({ ...problem, batch }) / (ranks * device.peakTflops * best * 1e9);
    const rows = (tokensOf(batch) * tensor) / ranks;
    const bytes = 10 * ((tensor - 1) / tensor) * rows * model.hidden * bytesPerElement[dtype] * model.layers;
    return computeMs + bytes / (levels[0].bandwidthGBps * fastestLineRate * 1e6);
  });
  return Math.max(...groups);
}
