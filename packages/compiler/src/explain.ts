import { nodeOf, nodesOf } from "@hsap/cluster";
import { type Degrees, type Problem, ranksOf, type Schedule, worldSizeOf } from "@hsap/schedule";
import { documentAt, documentsOf } from "@hsap/workload";
import type { Prediction } from "./cost/walk.ts";
import { choosePlan } from "./degrees.ts";
import { tokenBytesOf } from "./place/arrangements.ts";
import type { Plan } from "./plan.ts";

/** Why a schedule is as it is, in numbers. Times are predicted. */
export interface Explanation {
  /** The ways to divide heads and sequence that were weighed; the first is the chosen one, the others follow by their time. */
  readonly considered: readonly ConsideredWay[];
  readonly cuts: Cuts;
  readonly tiles: Tiles;
}

/** Where tiles are computed. */
export interface Tiles {
  /** Bytes, there and back and for all heads, if a token's key or its query is needed by another node or unit. */
  readonly keyBytes: number;
  readonly queryBytes: number;
  /** Documents whose tiles are divided in two dimensions; those of all others are computed by the owners of their queries. */
  readonly inTwoDimensions: readonly {
    readonly document: number;
    readonly units: number;
    /** How many units share queries, in the largest group. */
    readonly groupSize: number;
    /** Tokens whose queries, and whose keys, travel, summed over the units that receive them. */
    readonly queryTokens: number;
    readonly keyTokens: number;
  }[];
}

export interface ConsideredWay {
  readonly degrees: Degrees;
  /** Whose heads are split: `nodes` only of documents that several nodes hold, a number also of those heavier than so many ranks' shares. */
  readonly split: "nodes" | number;
  readonly place: "queries" | "grid";
  readonly predictedMs: number;
  /** What the ranks compute, the mean and the highest. */
  readonly computingMs: Prediction["computing"];
}

/** How many documents, and how many of all tokens, lie where. */
export interface Cuts {
  /** Whole on one rank: nothing of them travels. */
  readonly whole: Amount;
  /** Cut among ranks of one node: of these only fast links carry something. */
  readonly insideNode: Amount;
  /** Cut among several nodes: their keys cross the slow links. */
  readonly acrossNodes: Amount;
  /** The longest of those that several nodes hold, the longest first: how many nodes hold them. */
  readonly longest: readonly {
    readonly document: number;
    readonly tokens: number;
    readonly nodes: number;
    readonly ranks: number;
  }[];
}

export interface Amount {
  readonly documents: number;
  readonly tokens: number;
}

/**
 * Explains the balanced schedule for a problem.
 *
 * @param degrees those that were given; those that the compiler chooses if left out.
 */
export function explain(problem: Problem, schedule: Schedule, degrees?: Degrees): Explanation {
  const { best, plan, considered } = choosePlan(problem, degrees);
  const ways = [...considered]
    .sort((a, b) => Number(b === best) - Number(a === best) || a.prediction.us - b.prediction.us)
    .map(({ degrees: of, splitAbove, place, prediction: { us, computing } }) => ({
      degrees: of,
      place,
      split: Number.isFinite(splitAbove) ? splitAbove : ("nodes" as const),
      predictedMs: us / 1e3,
      computingMs: { mean: computing.mean / 1e3, max: computing.max / 1e3 },
    }));
  return { considered: ways, cuts: cutsOf(schedule), tiles: tilesOf(problem, plan) };
}

function tilesOf(problem: Problem, plan: Plan): Tiles {
  const { key, query } = tokenBytesOf(problem, { ulysses: 1 });
  const inTwoDimensions = plan.flatMap(({ placement }) =>
    placement.grids.map(({ document, groups, cells, queryTokens, keyTokens }) => {
      const groupSize = Math.max(...groups.map(({ length }) => length));
      return { document, units: cells.length, groupSize, queryTokens, keyTokens };
    }),
  );
  return { keyBytes: key, queryBytes: query, inTwoDimensions };
}

/** Where documents lie by the schedule's layout. */
export function cutsOf(schedule: Schedule): Cuts {
  const { problem, layout } = schedule;
  const { batch, cluster } = problem;
  const holders = Array.from({ length: documentsOf(batch) }, () => new Set<number>());
  for (let rank = 0; rank < worldSizeOf(schedule); rank++) {
    for (const { begin, end } of layout[rank]) {
      for (let document = documentAt(batch, begin); batch.cuSeqlens[document] < end; document++) {
        if (batch.cuSeqlens[document + 1] > batch.cuSeqlens[document]) holders[document].add(rank);
        if (document + 1 === holders.length) break;
      }
    }
  }
  const cuts = { whole: nothing(), insideNode: nothing(), acrossNodes: nothing() };
  const across: { document: number; tokens: number; nodes: number; ranks: number }[] = [];
  holders.forEach((ranks, document) => {
    const tokens = batch.cuSeqlens[document + 1] - batch.cuSeqlens[document];
    const nodes = new Set([...ranks].map((rank) => nodeOf(cluster, rank))).size;
    const kind = ranks.size <= 1 ? "whole" : nodes <= 1 ? "insideNode" : "acrossNodes";
    cuts[kind].documents++;
    cuts[kind].tokens += tokens;
    if (nodes > 1) across.push({ document, tokens, nodes, ranks: ranks.size });
  });
  across.sort((a, b) => b.tokens - a.tokens || a.document - b.document);
  return { ...cuts, longest: across.slice(0, mostShown) };
}

const nothing = () => ({ documents: 0, tokens: 0 });
const mostShown = 5;

/** The explanation in words, a line each. */
export function explanationLines(problem: Problem, { considered, cuts, tiles }: Explanation): string[] {
  const [chosen, ...others] = considered;
  const name = ({ place, ...way }: ConsideredWay) =>
    `${headsOf(way)}${place === "grid" ? ", tiles in two dimensions" : ""}`;
  const headsOf = ({ degrees, split }: Pick<ConsideredWay, "degrees" | "split">) =>
    degrees.ulysses === 1
      ? "heads of no document are split"
      : `heads are split by ${degrees.ulysses} of ${split === "nodes" ? "documents that several nodes hold" : `documents that several nodes hold or that are heavier than ${split} of a rank's share`}`;
  const ms = (value: number) => `${value.toPrecision(3)} ms`;
  const amount = ({ documents, tokens }: Amount) => `${documents} documents of ${tokens} tokens`;
  return [
    `chosen: ${name(chosen)}: ${ms(chosen.predictedMs)} predicted, of which ranks compute ${ms(chosen.computingMs.mean)} on average, ${ms(chosen.computingMs.max)} at most`,
    ...others.map(
      (way) =>
        `weighed: ${name(way)}: ${ms(way.predictedMs)}, ${(way.predictedMs / chosen.predictedMs).toFixed(2)} times as long`,
    ),
    ...(others.length === 0 ? ["weighed: nothing else, as bounds alone rule out the other ways"] : []),
    `whole on one rank: ${amount(cuts.whole)}; nothing of them travels`,
    `cut inside a node, as they are too heavy for what a rank has room for: ${amount(cuts.insideNode)}`,
    `cut across ${nodesOf(problem.cluster)} nodes, as they are heavier than a node's share or even out what nodes have: ${amount(cuts.acrossNodes)}`,
    ...cuts.longest.map(
      ({ document, tokens, nodes, ranks }) =>
        `document ${document}, ${tokens} tokens: ${nodes} nodes, ${ranks} of ${ranksOf(problem)} ranks`,
    ),
    ...tileLines(tiles),
  ];
}

function tileLines({ keyBytes, queryBytes, inTwoDimensions }: Tiles): string[] {
  const why = `a token's key and value are ${keyBytes} bytes there and back, its query and result ${queryBytes}`;
  if (inTwoDimensions.length === 0) return [`tiles are computed by the owners of their queries: ${why}`];
  return [
    `tiles are computed in two dimensions where that is predicted to take less: ${why}`,
    ...inTwoDimensions.map(
      ({ document, units, groupSize, queryTokens, keyTokens }) =>
        `document ${document}: ${units} units in groups of up to ${groupSize} share queries and divide keys; ${queryTokens} queries and ${keyTokens} keys travel`,
    ),
  ];
}
