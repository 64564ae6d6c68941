import { equation, type Schedule, ScheduleBuilder, type TensorSpec } from "@hsap/schedule";
import type { StageContext, StageMakers } from "./layer-strategy.ts";
import { attentionProblemOf } from "./model-problem.ts";
import { endWeights, layerWeights, type UpdateStageName, type WeightName, weightShape } from "./stage.ts";
import { WeightShards } from "./weight-shards.ts";

/** The optimiser's own copy of a weight, in fp32: `wqMaster`. It lies where the weight's gradient does. */
export const masterOf = (weight: string): string => `${weight}Master`;

/**
 * What follows the optimiser's step: each rank rounds the rows that it has updated to the dtype in which weights are stored, and they go
 * from there to where weights lie. Nothing travels where they lie with who updates them.
 */
export function updateStages(context: StageContext): Pick<StageMakers, UpdateStageName> {
  return {
    layerUpdate: () => updateStage(context, layerWeights),
    endUpdate: () => updateStage(context, endWeights),
  };
}

function updateStage(
  { problem, strategy, degrees, layout, grid, placement }: StageContext,
  weights: readonly WeightName[],
): Schedule {
  const tensors = weights.flatMap((weight): TensorSpec[] => {
    const shape = weightShape(problem, weight, grid.tensor);
    return [
      { name: masterOf(weight), ...shape, dtype: "fp32", role: "input", accumulates: false },
      { name: weight, ...shape, dtype: problem.dtype, role: "output", accumulates: false },
    ];
  });
  const equations = weights.map((weight) => equation("add", masterOf(weight), weight));
  const attention = attentionProblemOf(problem, "forward");
  const builder = new ScheduleBuilder(attention, strategy, degrees, layout, tensors, equations);
  const shards = new WeightShards(builder, { model: problem.model, grid, placement });
  layout.forEach((_, rank) => {
    for (const weight of weights) shards.store(rank, weight, masterOf(weight));
    shards.spreadStored(rank, weights);
  });
  return builder.finish();
}
