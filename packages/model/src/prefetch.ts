import { type Equation, equation, type Schedule, ScheduleBuilder, type TensorSpec } from "@hsap/schedule";
import { InputError } from "@hsap/workload";
import type { StageContext } from "./layer-strategy.ts";
import { attentionProblemOf, type ModelProblem } from "./model-problem.ts";
import { recomputationOf } from "./recomputation.ts";
import { layerWeights, weightShape } from "./stage.ts";
import { WeightShards } from "./weight-shards.ts";

/** The rows of the next layer's weight that a rank keeps: `wqShard`. */
export const shardOf = (weight: string): string => `${weight}Shard`;
/** All that a rank will compute with of it: `wqNext`. */
export const nextOf = (weight: string): string => `${weight}Next`;

/** Whether the stages of a layer find its weights gathered, and gather those of the layer that comes next. */
export const isPrefetched = ({ problem, placement }: Pick<StageContext, "problem" | "placement">): boolean =>
  problem.prefetch === true && placement !== "replicated";

/**
 * @throws InputError if weights cannot be fetched ahead: a layer that is computed again would fetch them twice.
 */
export function checkPrefetch(problem: Pick<ModelProblem, "prefetch" | "recompute">): void {
  if (problem.prefetch === true && recomputationOf(problem) === "full")
    throw new InputError("unsupported prefetch: recompute is full (must be none or selective)");
}

/** The next layer's weights in a stage, as they lie and as they are gathered. */
export function nextTensors(problem: ModelProblem): TensorSpec[] {
  return layerWeights.flatMap((weight): TensorSpec[] => {
    const spec = { ...weightShape(problem, weight), dtype: problem.dtype, accumulates: false };
    return [
      { name: shardOf(weight), ...spec, role: "input" },
      { name: nextOf(weight), ...spec, role: "output" },
    ];
  });
}

export const nextEquations = (): Equation[] =>
  layerWeights.map((weight) => equation("add", shardOf(weight), nextOf(weight)));

/** Gathers the weights of a step's first layer, which no layer before it does. */
export function gatherStage(context: StageContext): Schedule {
  const { problem, strategy, degrees, layout, grid, placement } = context;
  const attention = attentionProblemOf(problem, "forward");
  const tensors = nextTensors(problem);
  const builder = new ScheduleBuilder(attention, strategy, degrees, layout, tensors, nextEquations());
  const shards = new WeightShards(builder, { model: problem.model, grid, placement });
  layout.forEach((_, rank) => {
    shards.gatherNext(rank);
  });
  return builder.finish();
}
