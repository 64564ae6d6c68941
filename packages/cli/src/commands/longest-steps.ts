import { mkdirSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { longestFitting, type SearchedDegrees, withMemory } from "@hsap/bench";
import { type Cluster, clusterOf, namedCluster } from "@hsap/cluster";
import { drawLongestSteps } from "@hsap/figures";
import {
  type ModelProblem,
  type ModelShape,
  modelNamed,
  type Recomputation,
  type WeightPlacement,
  weightPlacements,
} from "@hsap/model";
import { layerStrategyNamed } from "@hsap/training";
import { fillPack, InputError, mixPack } from "@hsap/workload";
import { figureFormat } from "../figure-format.ts";
import { tableHeader } from "../header.ts";
import { interruptible } from "../interruption.ts";
import { layersOf, recomputationOf } from "../layer-options.ts";
import { formatLongest, type LongestRow } from "../longest-table.ts";
import type { ModelOptions } from "../model-options.ts";
import { oneOf, parseDegrees, wholeNumber } from "../option-values.ts";
import type { CommandContext } from "../program.ts";
import { startProgress } from "../progress.ts";

// The search looks at lengths that give every rank a multiple of this many tokens.
const grainOfRank = 256;

/**
 * `hsap model --max-tokens`: the most tokens of a step that fit into the device, for each cluster, number of ranks, model, strategy, placement
 * of weights and recomputation.
 */
export async function longestSteps(options: ModelOptions, { output, version }: CommandContext): Promise<void> {
  const draw = options.figure === undefined ? undefined : figureFormat(options.figure);
  const cases = casesOf(options);
  const given = givenDegrees(options, cases);
  const progress = await startProgress(output);
  const rows: LongestRow[] = [];
  const ended = () =>
    `interrupted: after ${rows.length} of ${cases.length} steps, which are lost (hsap experiment longest keeps what it has)`;
  try {
    await interruptible(ended, async (signal) => {
      for (const each of cases) {
        const { model, cluster, strategy, recompute } = each;
        const label = `${cluster.name} ${model.name} ${cluster.ranks} ranks: ${strategy}, ${recompute}`;
        progress.update(rows.length / cases.length, label);
        // Lets an interruption and the progress bar in: a search is one long computation.
        await new Promise(setImmediate);
        signal.throwIfAborted();
        rows.push(rowOf(each, given, options));
      }
    });
  } finally {
    progress.stop();
  }
  if (draw !== undefined && options.figure !== undefined) {
    mkdirSync(dirname(options.figure), { recursive: true });
    const found = rows.flatMap((row) => ("refusal" in row ? [] : [row]));
    writeFileSync(options.figure, draw(drawLongestSteps({ documents: documentsOf(options), rows: found })));
  }
  output.out(options.json ? `${JSON.stringify(rows, null, 2)}\n` : tableOf(rows, options, version));
}

/** One search. */
interface Case {
  readonly cluster: Cluster;
  readonly model: ModelShape;
  readonly strategy: string;
  readonly weights: WeightPlacement | "own";
  readonly recompute: Recomputation;
}

function casesOf(options: ModelOptions): Case[] {
  const clusters = listOf(options.cluster ?? "h100-400g").map((name) => withMemory(namedCluster(name)));
  const models = listOf(options.model ?? "7b").map(modelNamed);
  const counts = listOf(options.ranks ?? "8").map((text) => wholeNumber("ranks", text));
  const names = listOf(options.strategy ?? "megatron,colai-sp,ulysses,ring,hsap");
  const placements = listOf(options.weights ?? "sharded").map((text) => oneOf("weights", text, weightPlacements));
  const kinds = listOf(options.recompute ?? "selective").map((text) => recomputationOf(text));
  return clusters.flatMap((from) =>
    models.flatMap((model) =>
      counts.flatMap((ranks) => {
        const cluster = clusterOf({ ranks, ranksPerNode: undefined, from });
        return names.flatMap((strategy) =>
          (strategy === "megatron" ? (["own"] as const) : placements).flatMap((weights) =>
            kinds.map((recompute): Case => ({ cluster, model, strategy, weights, recompute })),
          ),
        );
      }),
    ),
  );
}

function rowOf(
  { cluster, model, strategy, weights, recompute }: Case,
  degrees: SearchedDegrees,
  options: ModelOptions,
): LongestRow {
  const { name: device, memoryGiB = 0 } = cluster.device;
  const row = {
    ...{ cluster: cluster.name, device, memoryGiB, model: model.name, ranks: cluster.ranks },
    ...{ strategy, weights, recompute, grain: grainOfRank * cluster.ranks },
  };
  const layers = layerStrategyNamed(strategy, weights === "own" ? undefined : weights);
  const problemAt = (tokens: number) => ({ ...problemOf(model, cluster, tokens, options), recompute });
  try {
    return { ...row, ...longestFitting(problemAt, layers, { degrees, grainOfRank }) };
  } catch (error) {
    // One strategy that cannot split this model is a result; wrong degrees of the only one are a mistake.
    if (!(error instanceof InputError && error.message.startsWith("invalid degree")) || typeof degrees === "object")
      throw error;
    return { ...row, refusal: error.message };
  }
}

function givenDegrees({ degrees }: ModelOptions, cases: readonly Case[]): SearchedDegrees {
  if (degrees === undefined) return "own";
  if (degrees === "most") return degrees;
  if (degrees === "fastest" || degrees === "auto")
    throw new InputError(`invalid degrees: ${degrees} (--max-tokens predicts no times)`);
  if (new Set(cases.map(({ strategy }) => strategy)).size !== 1)
    throw new InputError("invalid degrees: more than one strategy (give one --strategy)");
  return parseDegrees(degrees);
}

function problemOf(model: ModelShape, cluster: Cluster, tokens: number, options: ModelOptions): ModelProblem {
  const { document, mix, seed = "1" } = options;
  const length = document === undefined ? tokens : wholeNumber("document", document);
  return {
    ...{ model, cluster },
    batch:
      mix === undefined || document !== undefined
        ? fillPack(() => length, { tokens })
        : mixPack(mix, { tokens, seed: wholeNumber("seed", seed, 0) }),
    dtype: oneOf("dtype", options.dtype ?? "bf16", ["bf16", "fp32"]),
    lossChunk: wholeNumber("loss-chunk", options.lossChunk ?? "4096"),
    ...layersOf(options),
  };
}

function documentsOf({ document, mix }: ModelOptions): string {
  if (document !== undefined) return `Documents of ${document} tokens.`;
  return mix === undefined ? "A step is one sequence." : `Documents of the mix ${mix}.`;
}

const listOf = (text: string): string[] => text.split(",").map((entry) => entry.trim());

function tableOf(rows: readonly LongestRow[], options: ModelOptions, version: string): string {
  return [
    tableHeader(
      version,
      `the most tokens of a step that fit, in steps of ${grainOfRank} tokens a rank. ${documentsOf(options)}`,
      "origin: memory counted from the schedules, of the rank that needs most; next: one step further",
    ),
    formatLongest(rows),
    `# ${rows.length} rows\n`,
  ].join("");
}
