import { mkdirSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { formatDegrees, stepLowerBoundBytes } from "@hsap/bench";
import { type Cluster, clusterOf, namedCluster } from "@hsap/cluster";
import { drawLongestSteps } from "@hsap/figures";
import {
  type LayerStrategy,
  type LongestStep,
  longestDegrees,
  longestStep,
  type ModelProblem,
  type ModelShape,
  modelNamed,
  type Recomputation,
  receivedKvs,
  recomputations,
  type StepMemory,
  stepMemory,
  type WeightPlacement,
  weightPlacements,
} from "@hsap/model";
import type { Degrees } from "@hsap/schedule";
import { layerStrategyNamed } from "@hsap/training";
import { fillPack, InputError, mixPack } from "@hsap/workload";
import { figureFormat } from "../figure-format.ts";
import { tableHeader } from "../header.ts";
import type { ModelOptions } from "../model-options.ts";
import { oneOf, parseDegrees, wholeNumber } from "../option-values.ts";
import type { CommandContext } from "../program.ts";
import { type Column, formatTable, shortNumber } from "../table.ts";

/** A row of the table: the longest step, or why the strategy cannot split this model so. */
type Row = Case & { readonly strategy: string; readonly weights: WeightPlacement | "own" } & (
    | (LongestStep & { readonly recompute: Recomputation; readonly degrees: Degrees; readonly grain: number })
    | { readonly refusal: string }
  );

interface Case {
  readonly cluster: string;
  readonly device: string;
  readonly memoryGiB: number;
  readonly model: string;
  readonly ranks: number;
}

// The search looks at lengths that give every rank a multiple of this many tokens.
const grainOfRank = 256;

/**
 * `hsap model --max-tokens`: the most tokens of a step that fit into the device, for each cluster, number of ranks, model, strategy, placement
 * of weights and recomputation.
 */
export function longestSteps(options: ModelOptions, { output, version }: CommandContext): void {
  const draw = options.figure === undefined ? undefined : figureFormat(options.figure);
  const clusters = listOf(options.cluster ?? "h100-400g").map(namedCluster);
  const ranks = listOf(options.ranks ?? "8").map((text) => wholeNumber("ranks", text));
  const models = listOf(options.model ?? "7b").map(modelNamed);
  const rows = clusters.flatMap((from) =>
    models.flatMap((shape) =>
      ranks.flatMap((count) => rowsOf(clusterOf({ ranks: count, ranksPerNode: undefined, from }), shape, options)),
    ),
  );
  if (draw !== undefined && options.figure !== undefined) {
    mkdirSync(dirname(options.figure), { recursive: true });
    const found = rows.flatMap((row) => ("refusal" in row ? [] : [row]));
    writeFileSync(options.figure, draw(drawLongestSteps({ documents: documentsOf(options), rows: found })));
  }
  output.out(options.json ? `${JSON.stringify(rows, null, 2)}\n` : tableOf(rows, options, version));
}

function rowsOf(cluster: Cluster, shape: ModelShape, options: ModelOptions): Row[] {
  const { device } = cluster;
  if (device.memoryGiB === undefined)
    throw new InputError(`unknown memory: ${device.name} (its profile has no memoryGiB)`);
  const of = { cluster: cluster.name, device: device.name, memoryGiB: device.memoryGiB, model: shape.name };
  const names = listOf(options.strategy ?? "megatron,colai-sp,ulysses,ring,hsap");
  const placements = listOf(options.weights ?? "sharded").map((text) => oneOf("weights", text, weightPlacements));
  const given = givenDegrees(options, names);
  return names.flatMap((strategy) =>
    (strategy === "megatron" ? (["own"] as const) : placements).flatMap((weights): Row[] => {
      const row = { ...of, ranks: cluster.ranks, strategy, weights };
      const layers = layerStrategyNamed(strategy, weights === "own" ? undefined : weights);
      try {
        return recomputationsOf(options).map((recompute) => {
          const problem = (tokens: number) => ({ ...problemOf(shape, cluster, tokens, options), recompute });
          return { ...row, recompute, ...longestOf(problem, layers, given) };
        });
      } catch (error) {
        // One strategy that cannot split this model is a result; wrong degrees of the only one are a mistake.
        if (!(error instanceof InputError && error.message.startsWith("invalid degree")) || typeof given === "object")
          throw error;
        return [{ ...row, refusal: error.message }];
      }
    }),
  );
}

const recomputationsOf = ({ recompute = "selective" }: ModelOptions): Recomputation[] =>
  listOf(recompute).map((text) => oneOf("recompute", text, recomputations));

/** The search of one row: with the strategy's choice of degrees, with those given, or with all of them. */
function longestOf(problem: (tokens: number) => ModelProblem, strategy: LayerStrategy, given: GivenDegrees) {
  const { cluster } = problem(1);
  const grain = grainOfRank * cluster.ranks;
  const limitBytes = (cluster.device.memoryGiB ?? 0) * 2 ** 30;
  const made = new Map<string, StepMemory>();
  const at = (tokens: number, degrees?: Degrees): StepMemory => {
    const key = JSON.stringify([tokens, degrees]);
    const step = made.get(key) ?? stepMemory(problem(tokens), strategy, degrees === undefined ? {} : { degrees });
    made.set(key, step);
    return step;
  };
  const options = { limitBytes, grain, about: mostByBound(problem, limitBytes, grain) };
  if (given === "most") {
    const candidates = strategy.candidateDegrees(problem(Math.max(grain, options.about)));
    if (candidates.length === 0)
      throw new InputError(`invalid degrees: most (${strategy.name} has none for this model and number of ranks)`);
    return { grain, ...longestDegrees(candidates, (tokens, degrees) => at(tokens, degrees).memory, options) };
  }
  const found = longestStep((tokens) => at(tokens, given).memory, options);
  return { grain, degrees: at(Math.max(found.tokens, grain), given).degrees, ...found };
}

/** Tokens that cannot fit, as what they need at least does not: the end of a straight line. */
function mostByBound(problem: (tokens: number) => ModelProblem, limitBytes: number, grain: number): number {
  const [one, two] = [grain, 2 * grain].map((tokens) => stepLowerBoundBytes(problem(tokens), {}));
  return Math.max(grain, Math.ceil(grain + ((limitBytes - one) * grain) / (two - one)));
}

/** `most` is whichever degrees fit most; the strategy's choice where undefined. */
type GivenDegrees = Degrees | "most" | undefined;

function givenDegrees({ degrees }: ModelOptions, names: readonly string[]): GivenDegrees {
  if (degrees === undefined || degrees === "most") return degrees;
  if (degrees === "fastest" || degrees === "auto")
    throw new InputError(`invalid degrees: ${degrees} (--max-tokens predicts no times)`);
  if (names.length !== 1) throw new InputError("invalid degrees: more than one strategy (give one --strategy)");
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
    prefetch: options.prefetch ?? false,
    overlap: options.overlap ?? false,
    receivedKv: oneOf("received-kv", options.receivedKv ?? "fetch", receivedKvs),
  };
}

function documentsOf({ document, mix }: ModelOptions): string {
  if (document !== undefined) return `Documents of ${document} tokens.`;
  return mix === undefined ? "A step is one sequence." : `Documents of the mix ${mix}.`;
}

const listOf = (text: string): string[] => text.split(",").map((entry) => entry.trim());

function tableOf(rows: readonly Row[], options: ModelOptions, version: string): string {
  const shown = (value: (row: Exclude<Row, { refusal: string }>) => string) => (row: Row) =>
    "refusal" in row ? "-" : value(row);
  const gibibytes = (bytes: number | undefined) => (bytes === undefined ? "-" : shortNumber(bytes / 2 ** 30));
  const columns: Column<Row>[] = [
    { title: "device", align: "left", value: ({ device }) => device.replaceAll(" ", "-") },
    { title: "memory", unit: "GiB", value: ({ memoryGiB }) => String(memoryGiB) },
    { title: "model", align: "left", value: ({ model }) => model },
    { title: "ranks", value: ({ ranks }) => String(ranks) },
    { title: "strategy", align: "left", value: ({ strategy }) => strategy },
    { title: "weights", align: "left", value: ({ weights }) => weights },
    { title: "recompute", align: "left", value: shown(({ recompute }) => recompute) },
    { title: "degrees", align: "left", value: shown(({ degrees }) => formatDegrees(degrees)) },
    { title: "tokens", value: shown(({ tokens }) => String(tokens)) },
    { title: "tokens", unit: "/rank", value: shown(({ tokens, ranks }) => String(tokens / ranks)) },
    { title: "needs", unit: "GiB", value: shown(({ memory }) => gibibytes(memory?.total)) },
    { title: "next", unit: "GiB", value: shown(({ next }) => gibibytes(next?.total)) },
    { title: "refusal", align: "left", value: (row) => ("refusal" in row ? row.refusal : "-") },
  ];
  return [
    tableHeader(
      version,
      `the most tokens of a step that fit, in steps of ${grainOfRank} tokens a rank. ${documentsOf(options)}`,
      "origin: memory counted from the schedules, of the rank that needs most; next: one step further",
    ),
    formatTable(columns, rows),
    `# ${rows.length} rows\n`,
  ].join("");
}
