import { type Problem, ranksOf } from "@hsap/schedule";
import { type Hierarchy, hierarchyOf } from "./hierarchy.ts";
import type { Grid } from "./place/grid.ts";
import { type Placement, place } from "./place/place.ts";
import { tile } from "./place/tile.ts";
import type { Messages } from "./route/message.ts";
import { route } from "./route/route.ts";
import { type Sharding, shardAmongNodes, shardAmongUnits } from "./shard/shard.ts";
import { joinNodes, type SplitNodes, splitNodes } from "./shard/split.ts";
import { stage } from "./stage/stage.ts";

/** Documents that are worked on in the same way, and what the passes decided for them. */
export interface Part {
  readonly hierarchy: Hierarchy;
  readonly sharding: Sharding;
  readonly placement: Placement;
  readonly messages: Messages;
}

/** What passes 1 to 6 decide, the same on every rank: one part, or first documents whose heads are split and then the others. */
export type Plan = readonly Part[];

/** Makes balanced plans of one problem for different degrees; nodes have the same tokens in all of them. */
export class Planner {
  readonly #ranks: Hierarchy;
  #nodes: Sharding | undefined;
  #last: { readonly splitAbove: number; readonly nodes: SplitNodes } | undefined;

  constructor(
    readonly problem: Problem,
    /** In how many rounds keys cross to other nodes at most. */
    readonly crossingRounds = 1,
  ) {
    this.#ranks = hierarchyOf(problem, { sap: ranksOf(problem) });
  }

  /** How many pieces of documents have split heads; see `plan`. */
  split(hierarchy: Hierarchy, splitAbove: number): number {
    return hierarchy.ulysses === 1 ? 0 : this.#split(splitAbove).split.pieces.begin.length;
  }

  /** @param splitAbove whose heads are split if units have several ranks, see `splitNodes`. */
  plan(hierarchy: Hierarchy, splitAbove: number): Plan {
    const { problem } = this;
    const ranks = this.#ranks;
    if (hierarchy.ulysses === 1) return [this.partOf(ranks, shardAmongUnits(problem, ranks, this.#nodesOf()))];
    const { split, whole } = this.#split(splitAbove);
    const parts: Part[] = [];
    if (split.pieces.begin.length > 0) {
      const nodes = joinNodes(split, ranks, hierarchy);
      parts.push(this.partOf(hierarchy, shardAmongUnits(problem, hierarchy, nodes)));
    }
    if (whole.pieces.begin.length > 0) parts.push(this.partOf(ranks, shardAmongUnits(problem, ranks, whole)));
    return parts;
  }

  #nodesOf(): Sharding {
    this.#nodes ??= shardAmongNodes(this.problem, this.#ranks);
    return this.#nodes;
  }

  #split(splitAbove: number): SplitNodes {
    if (this.#last?.splitAbove !== splitAbove) {
      this.#last = { splitAbove, nodes: splitNodes(this.problem, this.#nodesOf(), this.#ranks, splitAbove) };
    }
    return this.#last.nodes;
  }

  /** Passes 2 to 6; tiles of documents with a grid are divided as that says. */
  partOf(hierarchy: Hierarchy, sharding: Sharding, grids: readonly Grid[] = [], queriesAhead = false): Part {
    const { problem, crossingRounds } = this;
    const placement = place(sharding, tile(problem, sharding), grids, queriesAhead);
    const routing = route(sharding, placement, hierarchy);
    const messages = stage(routing, placement, hierarchy.units, problem.pass, crossingRounds);
    return { hierarchy, sharding, placement, messages };
  }
}
