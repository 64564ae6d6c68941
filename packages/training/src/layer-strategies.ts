import { baselines, megatron } from "@hsap/baselines";
import { choosePlan, hsap } from "@hsap/compiler";
import { type LayerStrategy, sequenceParallel, type WeightPlacement } from "@hsap/model";
import type { Degrees, Problem, Strategy } from "@hsap/schedule";
import { InputError } from "@hsap/workload";

/**
 * HSAP for both passes of a layer: tokens lie alike in both, so degrees and whose heads are split are chosen once, for the backward pass,
 * which takes longer.
 */
const hsapInLayers: Strategy = {
  ...hsap,
  defaultDegrees: (problem) => hsap.defaultDegrees(backwardOf(problem)),
  compile: (problem, degrees, options = {}) =>
    hsap.compile(problem, degrees, { split: splitFor(problem, degrees), ...options }),
};

function splitFor(problem: Problem, degrees: Degrees): string {
  const { splitAbove } = choosePlan(backwardOf(problem), degrees).best;
  return splitAbove === Number.POSITIVE_INFINITY ? "nodes" : String(splitAbove);
}

const backwardOf = (problem: Problem): Problem => ({ ...problem, pass: "backward" });

/** Names of the strategies for whole layers, in the order that tables show them. */
export const layerStrategyNames: readonly string[] = [...baselines, megatron, hsap].map(({ name }) => name);

/**
 * The layer strategy of that name: Megatron, or an attention strategy with weights placed as given.
 *
 * @throws InputError if there is none, or Megatron's weights are to be placed otherwise than it does.
 */
export function layerStrategyNamed(name: string, placement?: WeightPlacement): LayerStrategy {
  if (name === megatron.name) {
    if (placement === undefined) return megatron;
    throw new InputError(`invalid weights: ${placement} (megatron splits its weights itself)`);
  }
  const attention = [...baselines, hsapInLayers].find((strategy) => strategy.name === name);
  if (attention !== undefined) return sequenceParallel(attention, placement ?? "sharded");
  throw new InputError(`unknown strategy: ${name} (known: ${layerStrategyNames.join(", ")})`);
}
