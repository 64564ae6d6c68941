import { baselines, megatron } from "@hsap/baselines";
import { hsap } from "@hsap/compiler";
import { type LayerStrategy, sequenceParallel, type WeightPlacement } from "@hsap/model";
import { InputError } from "@hsap/workload";

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
  const attention = [...baselines, hsap].find((strategy) => strategy.name === name);
  if (attention !== undefined) return sequenceParallel(attention, placement ?? "sharded");
  throw new InputError(`unknown strategy: ${name} (known: ${layerStrategyNames.join(", ")})`);
}
