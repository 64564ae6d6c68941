import { attentionProblemOf, layerParameters, type ModelProblem } from "@hsap/model";
import { flopsOf } from "@hsap/schedule";
import { tokensOf } from "@hsap/workload";

/**
 * FLOPs of a step by the usual count: 6 for each weight of a matrix and each token, and three times attention's forward pass over the
 * unmasked pairs of all layers. The embedding is no product; nothing that is computed again counts.
 */
export function modelFlops(problem: ModelProblem): number {
  const { model, batch } = problem;
  const matrices = model.layers * (layerParameters(model) - 2 * model.hidden) + model.vocabulary * model.hidden;
  return 6 * matrices * tokensOf(batch) + 3 * model.layers * flopsOf(attentionProblemOf(problem, "forward"));
}
