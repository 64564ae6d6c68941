import { ranksPerNode } from "@hsap/cluster";
import { type Problem, ranksOf } from "@hsap/schedule";
import { type Hierarchy, hierarchyOf } from "./hierarchy.ts";
import type { Grid } from "./place/grid.ts";
import { type Placement, place } from "./place/place.ts";
import { tile } from "./place/tile.ts";
import type { Messages } from "./route/message.ts";
import { type Routing, route } from "./route/route.ts";
import { type Sharding, shardAmongNodes, shardAmongUnits, shardWithinUnits } from "./shard/shard.ts";
import { HeadSplitter, joinNodes, type SplitNodes } from "./shard/split.ts";
import { stage } from "./stage/stage.ts";

/** Documents that are worked on in the same way, and what the passes decided for them. */
export interface Part {
  readonly hierarchy: Hierarchy;
  readonly sharding: Sharding;
  readonly placement: Placement;
  readonly routing: Routing;
  readonly messages: Messages;
  /** Whether keys cross in several rounds so that buffers are small. */
  readonly isFrugal: boolean;
}

/** What passes 1 to 6 decide, the same on every rank: one part, or first documents whose heads are split and then the others. */
export type Plan = readonly Part[];

/** Makes balanced plans of one problem for different degrees; nodes have the same tokens in all of them. */
export class Planner {
  /** The hierarchy in which every rank is a unit. */
  readonly ranks: Hierarchy;
  #nodes: Sharding | undefined;
  #splitter: HeadSplitter | undefined;

  constructor(
    readonly problem: Problem,
    /** In how many rounds keys cross to other nodes at most. */
    readonly crossingRounds = 1,
  ) {
    this.ranks = hierarchyOf(problem, { sap: ranksOf(problem) });
  }

  /** What nodes have; the same for all ways. */
  get nodes(): Sharding {
    this.#nodes ??= shardAmongNodes(this.problem, this.ranks);
    return this.#nodes;
  }

  /** Whose heads are split if units have several ranks; see `HeadSplitter`. */
  split(splitAbove: number): SplitNodes {
    this.#splitter ??= new HeadSplitter(this.problem, this.nodes, this.ranks);
    return this.#splitter.split(splitAbove);
  }

  /** @param splitAbove whose heads are split if units have several ranks. */
  plan(hierarchy: Hierarchy, splitAbove: number): Plan {
    const { problem, ranks } = this;
    if (hierarchy.ulysses === 1) return [this.partOf(ranks, shardAmongUnits(problem, ranks, this.nodes))];
    const { split, whole } = this.split(splitAbove);
    const parts: Part[] = [];
    if (split.pieces.begin.length > 0) {
      const nodes = joinNodes(split, ranks, hierarchy);
      parts.push(this.partOf(hierarchy, shardAmongUnits(problem, hierarchy, nodes)));
    }
    if (whole.pieces.begin.length > 0) {
      const isOverNodes = hierarchy.ulysses > ranksPerNode(problem.cluster);
      const nodes = isOverNodes ? shardWithinUnits(problem, ranks, hierarchy, whole) : whole;
      parts.push(this.partOf(ranks, shardAmongUnits(problem, ranks, nodes)));
    }
    return parts;
  }

  /** Passes 2 to 6; tiles of documents with a grid are divided as that says. */
  partOf(hierarchy: Hierarchy, sharding: Sharding, grids: readonly Grid[] = [], crossesLater = false): Part {
    const { problem, crossingRounds } = this;
    const placement = place(sharding, tile(problem, sharding), grids, crossesLater);
    const routing = route(sharding, placement, hierarchy);
    const messages = stage(routing, placement, hierarchy.units, problem.pass, crossingRounds);
    return { hierarchy, sharding, placement, routing, messages, isFrugal: crossingRounds > 1 };
  }

  /** The part with its keys crossing to other nodes a round later. */
  crossingLater(part: Part): Part {
    const placement = { ...part.placement, crossesLater: true };
    const messages = stage(part.routing, placement, part.hierarchy.units, this.problem.pass, this.crossingRounds);
    return { ...part, placement, messages };
  }
}
