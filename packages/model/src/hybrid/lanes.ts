import type { Degrees, Pass, Problem, Strategy, StrategyOptions } from "@hsap/schedule";
import { type Passes, withKeptKv } from "../kept-kv.ts";
import { attentionProblemOf, type ModelProblem } from "../model-problem.ts";
import { type Lane, SplicedAttention } from "../spliced-attention.ts";
import type { DataGroups } from "./data-groups.ts";
import { laneCluster, laneRanks, type RankGrid } from "./rank-grid.ts";

/** What one lane has to attend to: the documents of its group, and its share of the heads. */
export function laneProblem(problem: ModelProblem, grid: RankGrid, batch: ModelProblem["batch"], pass: Pass): Problem {
  const whole = attentionProblemOf({ ...problem, batch, cluster: laneCluster(problem.cluster, grid) }, pass);
  const { heads, kvHeads } = whole.shape;
  return { ...whole, shape: { ...whole.shape, heads: heads / grid.tensor, kvHeads: kvHeads / grid.tensor } };
}

/** Attention's two passes in all lanes. */
export interface LaneAttention {
  readonly forward: SplicedAttention;
  readonly backward: SplicedAttention;
}

/** The attention of all lanes, each compiled by `attention` for what it has to attend to. */
export function laneAttention(
  attention: Strategy,
  problem: ModelProblem,
  { grid, groups }: { readonly grid: RankGrid; readonly groups: DataGroups["groups"] },
  degrees: Degrees,
  options: StrategyOptions,
): LaneAttention {
  const compile = (batch: ModelProblem["batch"]): Passes => {
    const pass = (name: Pass) => attention.compile(laneProblem(problem, grid, batch, name), degrees, options);
    const passes = { forward: pass("forward"), backward: pass("backward") };
    return problem.receivedKv === "keep" ? withKeptKv(passes) : passes;
  };
  // Lanes of one group differ in their heads only, and groups with equal documents in their tokens.
  const compiled = new Map<string, Passes>();
  const passesOf = groups.map(({ batch }) => {
    const key = batch.cuSeqlens.join();
    const passes = compiled.get(key) ?? compile(batch);
    compiled.set(key, passes);
    return passes;
  });
  const splice = (pass: Pass) =>
    new SplicedAttention(
      groups.flatMap(({ firstToken }, group) =>
        Array.from({ length: grid.tensor }, (_, column): Lane => {
          return { schedule: passesOf[group][pass], ranks: laneRanks(grid, group, column), firstToken, column };
        }),
      ),
      grid.tensor,
    );
  return { forward: splice("forward"), backward: splice("backward") };
}
