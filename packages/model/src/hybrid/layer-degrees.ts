import { type Degrees, ranksOf, type Strategy } from "@hsap/schedule";
import { documentsOf, InputError } from "@hsap/workload";
import { attentionProblemOf, type ModelProblem } from "../model-problem.ts";
import { ffnGroups } from "../presets.ts";
import { dataGroups } from "./data-groups.ts";
import { laneProblem } from "./lanes.ts";
import { laneCluster, type RankGrid } from "./rank-grid.ts";

/** Degrees of a whole layer: heads and columns, then those of the attention strategy, then documents. */
export interface LayerDegrees {
  readonly grid: RankGrid;
  /** Those of the attention strategy. */
  readonly own: Degrees;
}

/** The system that degrees belong to, and the attention strategy inside of it. */
export interface DegreesOwner {
  readonly name: string;
  readonly attention: Strategy;
}

export const layerDegreeNames = ({ attention }: DegreesOwner): string[] => ["tensor", ...attention.degreeNames, "data"];

/**
 * Completes and checks degrees in one place. `tensor` and `data` are 1 where left out; of the strategy's own degrees one may be left out
 * that follows from the others, or all, which are then its choice for a group's documents. Where it has none, `tensor` follows.
 *
 * @throws InputError if a degree is unknown or no whole number, the degrees do not multiply to the ranks, or something cannot be split so.
 */
export function layerDegrees(owner: DegreesOwner, problem: ModelProblem, degrees: Degrees): LayerDegrees {
  const { name, attention } = owner;
  const ranks = ranksOf(attentionProblemOf(problem, "forward"));
  for (const [degree, value] of Object.entries(degrees)) {
    const known = layerDegreeNames(owner);
    if (!known.includes(degree)) throw new InputError(`unknown degree: ${degree} (${name} has ${known.join(", ")})`);
    if (!Number.isInteger(value) || value < 1)
      throw new InputError(`invalid degree: ${degree}=${value} (must be a whole number of at least 1)`);
  }
  const data = degrees.data ?? 1;
  const given = attention.degreeNames.filter((degree) => degrees[degree] !== undefined);
  const followsTensor = attention.degreeNames.length === 0 && degrees.tensor === undefined;
  const tensor = followsTensor ? Math.max(1, Math.floor(ranks / data)) : (degrees.tensor ?? 1);
  const places = ranks / (tensor * data);
  const said = Object.entries(degrees).map(([degree, value]) => `${degree}=${value}`);
  if (!Number.isInteger(places) || (attention.degreeNames.length === 0 && places !== 1))
    throw new InputError(`invalid degrees: ${said.join(",")} (must multiply to ${ranks} ranks)`);
  const refusal = tensorRefusal(problem, tensor);
  if (refusal !== undefined)
    throw new InputError(`invalid degree: tensor=${tensor} (${name} splits ${refusal}: must divide them)`);
  const grid = { tensor, places, data };
  if (given.length === 0) return { grid, own: attention.defaultDegrees(heaviestLane(problem, grid)) };
  const product = given.reduce((all, degree) => all * degrees[degree], 1);
  const missing = attention.degreeNames.filter((degree) => degrees[degree] === undefined);
  if (missing.length > 1 ? product !== places : places % product !== 0 || (missing.length === 0 && product !== places))
    throw new InputError(`invalid degrees: ${said.join(",")} (must multiply to ${ranks} ranks)`);
  const left = Object.fromEntries(missing.map((degree) => [degree, places / product]));
  const own = Object.fromEntries(attention.degreeNames.map((degree) => [degree, degrees[degree] ?? left[degree] ?? 1]));
  return { grid, own };
}

/** As they are shown: `tensor` and `data` only where they are more than 1, or nothing else is left. */
export function shownDegrees({ grid: { tensor, data }, own }: LayerDegrees): Degrees {
  const hasOwn = Object.keys(own).length > 0;
  return { ...(tensor > 1 || !hasOwn ? { tensor } : {}), ...own, ...(data > 1 ? { data } : {}) };
}

/** Every way to split the ranks that keeps tensor ranks inside a node and groups inside whole nodes or even parts of one. */
export function candidateLayerDegrees({ attention }: DegreesOwner, problem: ModelProblem): Degrees[] {
  const ranks = ranksOf(attentionProblemOf(problem, "forward"));
  const [node] = problem.cluster.levels;
  const divisors = (of: number) => Array.from({ length: of }, (_, i) => i + 1).filter((d) => of % d === 0);
  return divisors(ranks)
    .filter((tensor) => tensorRefusal(problem, tensor) === undefined)
    .flatMap((tensor) =>
      divisors(ranks / tensor)
        .filter((data) => data <= documentsOf(problem.batch))
        .map((data): RankGrid => ({ tensor, places: ranks / (tensor * data), data })),
    )
    .filter(({ tensor }) => node.size % tensor === 0 || ranks <= node.size || attention.degreeNames.length === 0)
    .filter(
      ({ tensor, places }) =>
        node.size % (tensor * places) === 0 || (tensor * places) % node.size === 0 || ranks === tensor * places,
    )
    .filter((grid) => attention.degreeNames.length > 0 || grid.places === 1)
    .filter((grid) => isPossible(() => laneCluster(problem.cluster, grid)))
    .flatMap((grid) =>
      attention.candidateDegrees(heaviestLane(problem, grid)).map((own) => shownDegrees({ grid, own })),
    );
}

function isPossible(attempt: () => unknown): boolean {
  try {
    attempt();
    return true;
  } catch (error) {
    if (error instanceof InputError) return false;
    throw error;
  }
}

/** The lane with the most to attend to: that of the group with the largest area. */
function heaviestLane(problem: ModelProblem, grid: RankGrid) {
  const { groups } = dataGroups(problem, grid.data);
  const areaOf = ({ cuSeqlens }: ModelProblem["batch"]) =>
    cuSeqlens.reduce((sum, end, i) => sum + (i === 0 ? 0 : (end - cuSeqlens[i - 1]) ** 2), 0);
  const [heaviest] = [...groups].sort((a, b) => areaOf(b.batch) - areaOf(a.batch));
  return laneProblem(problem, grid, heaviest.batch, "forward");
}

/** What `degree` ranks cannot split evenly, if anything. */
function tensorRefusal({ model }: Pick<ModelProblem, "model">, degree: number): string | undefined {
  if (model.kvHeads % degree !== 0) return `${model.kvHeads} kv heads`;
  const groups = ffnGroups(model);
  if (groups % degree !== 0) return `${groups} feed-forward column groups`;
  return model.vocabulary % degree === 0 ? undefined : `a vocabulary of ${model.vocabulary}`;
}
