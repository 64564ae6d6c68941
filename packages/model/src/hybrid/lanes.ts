import type { Degrees, Pass, Problem, Strategy, StrategyOptions } from "@hsap/schedule";
import { withKeptKv } from "../kept-kv.ts";
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

/** The attention of all lanes in one pass, each compiled by `attention` for what it has to attend to. */
export function laneAttention(
  attention: Strategy,
  problem: ModelProblem,
  { grid, groups }: { readonly grid: RankGrid; readonly groups: DataGroups["groups"] },
  { degrees, options, pass }: { readonly degrees: Degrees; readonly options: StrategyOptions; readonly pass: Pass },
): SplicedAttention {
  // Lanes of one group differ in their heads only, and so do groups with equal documents in their tokens.
  const compiled = new Map<string, Lane["schedule"]>();
  const lanes = groups.flatMap(({ batch, firstToken }, group) => {
    const key = batch.cuSeqlens.join();
    const compile = (of: Pass) => attention.compile(laneProblem(problem, grid, batch, of), degrees, options);
    const passes = () => withKeptKv({ forward: compile("forward"), backward: compile("backward") });
    const schedule = compiled.get(key) ?? (problem.receivedKv === "keep" ? passes()[pass] : compile(pass));
    compiled.set(key, schedule);
    return Array.from({ length: grid.tensor }, (_, column): Lane => {
      return { schedule, ranks: laneRanks(grid, group, column), firstToken, column };
    });
  });
  return new SplicedAttention(lanes, grid.tensor);
}
