import { type Layout, layoutOf, type Strategy } from "@hsap/schedule";
import { InputError } from "@hsap/workload";
import { endStages } from "./end-stages.ts";
import { dataGroups } from "./hybrid/data-groups.ts";
import { laneAttention } from "./hybrid/lanes.ts";
import { candidateLayerDegrees, layerDegreeNames, layerDegrees, shownDegrees } from "./hybrid/layer-degrees.ts";
import { layerBackward, layerForward } from "./hybrid/layer-stages.ts";
import { dividedRanges, type RankGrid } from "./hybrid/rank-grid.ts";
import { type LayerStrategy, madeWhenRead, type StageContext } from "./layer-strategy.ts";
import { checkPrefetch, gatherStage, isPrefetched } from "./prefetch.ts";
import type { SplicedAttention } from "./spliced-attention.ts";
import { updateStages } from "./update-stages.ts";
import type { WeightPlacement } from "./weight-shards.ts";

/** How a strategy of whole layers is called, where it is not by its attention strategy's name. */
export type LayerStrategyText = Partial<Pick<LayerStrategy, "name" | "summary" | "citation">>;

/**
 * Any attention strategy as a strategy for whole layers. Each rank computes norms, projections and the feed-forward part for its own
 * tokens; the strategy's own schedule stands between the projections. Where `tensor` ranks split heads and columns besides, each lane of
 * equal columns runs a schedule of its own; where `data` groups split the documents, each group does. See docs/layer.md.
 */
export function sequenceParallel(
  attention: Strategy,
  placement: WeightPlacement,
  text: LayerStrategyText = {},
): LayerStrategy {
  const name = text.name ?? attention.name;
  const owner = { name, attention };
  return {
    name,
    summary: text.summary ?? `${attention.summary} Weights are ${placement}.`,
    citation: text.citation ?? attention.citation,
    degreeNames: layerDegreeNames(owner),
    ...(attention.options === undefined ? {} : { options: attention.options }),
    defaultDegrees: (problem) => shownDegrees(layerDegrees(owner, problem, {})),
    candidateDegrees: (problem) => candidateLayerDegrees(owner, problem),

    compile(problem, degrees, options = {}) {
      checkPrefetch(problem);
      const checked = layerDegrees(owner, problem, degrees);
      const { grid, own } = checked;
      const { batch, groups } = dataGroups(problem, grid.data);
      const { forward, backward } = laneAttention(attention, problem, { grid, groups }, own, options);
      const layout = layoutOfLanes(forward, grid);
      if (JSON.stringify(layout) !== JSON.stringify(layoutOfLanes(backward, grid)))
        throw new InputError(`unsupported strategy: ${name} (its passes have different layouts)`);
      const context: StageContext = {
        ...{ problem: { ...problem, batch }, strategy: name, degrees: shownDegrees(checked), layout, grid, placement },
      };
      return madeWhenRead({
        ...endStages(context),
        layerForward: () => layerForward(context, forward, backward),
        layerBackward: () => layerBackward(context, backward),
        ...updateStages(context),
        ...(isPrefetched(context) && { layerGather: () => gatherStage(context) }),
      });
    },
  };
}

/** Who owns which tokens outside of attention: those of a place are split between its tensor ranks. */
function layoutOfLanes(attention: SplicedAttention, grid: RankGrid): Layout {
  const ranks = Array.from({ length: grid.tensor * grid.places * grid.data }, (_, rank) => rank);
  return layoutOf(ranks.map((rank) => dividedRanges(attention.shard(rank), grid.tensor)[rank % grid.tensor]));
}
