import { mkdirSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { type ChosenDegrees, chosenDegrees, formatDegrees, type SimulatedStep, simulatedStep } from "@hsap/bench";
import { clusterOf, namedCluster } from "@hsap/cluster";
import { drawModelSteps, type ModelStepsInput } from "@hsap/figures";
import { type ModelProblem, modelNamed, parametersOf, weightPlacements } from "@hsap/model";
import { hardwareOf, isOwnHardware } from "@hsap/simulator";
import { layerStrategyNamed } from "@hsap/training";
import { fillPack, InputError, lengthsOf, mixPack } from "@hsap/workload";
import { figureFormat } from "../figure-format.ts";
import { tableHeader } from "../header.ts";
import { layersOf, recomputationOf } from "../layer-options.ts";
import type { ModelOptions } from "../model-options.ts";
import { oneOf, parseDegrees, wholeNumber } from "../option-values.ts";
import type { CommandContext } from "../program.ts";
import { type Column, formatTable, shortNumber } from "../table.ts";

/** A row of the table: what is predicted, or why the strategy cannot do it. */
type Row = { readonly tokens: number; readonly documents: number; readonly strategy: string } & (
  | { readonly step: SimulatedStep }
  | { readonly refusal: string }
);

/** `hsap model`: a training step of a model, predicted for several strategies: time, tokens a second, MFU and memory by kind. */
export async function model(options: ModelOptions, { output, version }: CommandContext): Promise<void> {
  const names = (options.strategy ?? "megatron,colai-sp,ulysses,hsap").split(",").map((name) => name.trim());
  if (options.degrees !== undefined && !isChosen(options.degrees) && names.length !== 1)
    throw new InputError("invalid degrees: more than one strategy (give one --strategy)");
  const numbers = (name: string, list: string) => list.split(",").map((text) => wholeNumber(name, text.trim()));
  const counts = numbers("tokens", options.tokens ?? "65536");
  const lengths = options.document === undefined ? [undefined] : numbers("document", options.document);
  const problems = counts.flatMap((tokens) => lengths.map((length) => problemOf(options, tokens, length)));
  const draw = options.figure === undefined ? undefined : figureFormat(options.figure);
  const rows = problems.flatMap((problem) => names.map((name) => rowOf(name, problem, options)));
  if (draw !== undefined && options.figure !== undefined) {
    mkdirSync(dirname(options.figure), { recursive: true });
    writeFileSync(options.figure, draw(drawModelSteps(figureOf(rows, problems[0], options))));
  }
  if (options.json) output.out(`${JSON.stringify(rows, null, 2)}\n`);
  else output.out(tableOf(rows, problems[0], version));
}

const isChosen = (degrees: string): degrees is ChosenDegrees => (chosenDegrees as readonly string[]).includes(degrees);

/** By the length of documents where several are given, else by tokens. */
function figureOf(
  rows: readonly Row[],
  { model: shape, cluster }: ModelProblem,
  options: ModelOptions,
): ModelStepsInput {
  const byLength = options.document?.includes(",") ?? false;
  const { device } = cluster;
  return {
    title: `${shape.name} on ${cluster.ranks} ranks of ${cluster.name} (${device.name})`,
    documents:
      options.document === undefined
        ? `Documents of the mix ${options.mix ?? "hybrid"}.`
        : `Documents of one length${byLength ? `, ${Number(options.tokens ?? "65536").toLocaleString("en")} tokens together` : ""}.`,
    axis: byLength ? "tokens of a document" : "tokens of a step",
    deviceGiB: device.memoryGiB,
    rows: rows.flatMap((row) =>
      "step" in row
        ? [
            {
              tokens: byLength ? row.tokens / row.documents : row.tokens,
              strategy: row.strategy,
              step: { ...row.step, memoryBytes: row.step.memory.total },
            },
          ]
        : [],
    ),
  };
}

/** `length` is that of every document, if they are not of a mix. */
function problemOf(options: ModelOptions, tokens: number, length: number | undefined): ModelProblem {
  const from = namedCluster(options.cluster ?? "h100-400g");
  return {
    model: modelNamed(options.model ?? "7b"),
    batch:
      length === undefined
        ? mixPack(options.mix ?? "hybrid", { tokens, seed: wholeNumber("seed", options.seed ?? "1", 0) })
        : fillPack(() => length, { tokens }),
    cluster: clusterOf({ ranks: wholeNumber("ranks", options.ranks ?? "8"), ranksPerNode: undefined, from }),
    dtype: oneOf("dtype", options.dtype ?? "bf16", ["bf16", "fp32"]),
    lossChunk: wholeNumber("loss-chunk", options.lossChunk ?? "4096"),
    ...{ recompute: recomputationOf(options.recompute), ...layersOf(options) },
  };
}

function rowOf(name: string, problem: ModelProblem, options: ModelOptions): Row {
  const tokens = problem.batch.cuSeqlens[problem.batch.cuSeqlens.length - 1];
  const of = { tokens, documents: lengthsOf(problem.batch).length, strategy: name };
  const placement = options.weights === undefined ? undefined : oneOf("weights", options.weights, weightPlacements);
  const strategy = layerStrategyNamed(name, name === "megatron" ? undefined : placement);
  const { degrees: given } = options;
  const degrees = given === undefined || isChosen(given) ? given : parseDegrees(given);
  try {
    return { ...of, step: simulatedStep(problem, strategy, { degrees }) };
  } catch (error) {
    // One strategy that cannot split this model is a result; a wrong option of the only one is a mistake.
    if (error instanceof InputError && error.message.startsWith("invalid degree")) {
      if (degrees === undefined || typeof degrees === "string") return { ...of, refusal: error.message };
    }
    throw error;
  }
}

function tableOf(rows: readonly Row[], { model: shape, cluster, dtype }: ModelProblem, version: string): string {
  const shown = (value: (step: SimulatedStep) => string) => (row: Row) => ("step" in row ? value(row.step) : "-");
  const gibibytes = (bytes: number) => shortNumber(bytes / 2 ** 30);
  const columns: Column<Row>[] = [
    { title: "tokens", value: ({ tokens }) => String(tokens) },
    { title: "documents", value: ({ documents }) => String(documents) },
    { title: "strategy", align: "left", value: ({ strategy }) => strategy },
    { title: "degrees", align: "left", value: shown(({ degrees }) => formatDegrees(degrees)) },
    { title: "step", unit: "ms", value: shown(({ stepMs }) => shortNumber(stepMs)) },
    { title: "tokens", unit: "/s", value: shown(({ tokensPerSecond }) => shortNumber(tokensPerSecond)) },
    { title: "TFLOP/s", unit: "/rank", value: shown(({ tflopsPerDevice }) => shortNumber(tflopsPerDevice)) },
    { title: "MFU", value: shown(({ mfu }) => mfu.toFixed(3)) },
    ...(["weights", "gradients", "optimiser", "activations", "working", "total"] as const).map(
      (kind): Column<Row> => ({ title: kind, unit: "GiB", value: shown(({ memory }) => gibibytes(memory[kind])) }),
    ),
    {
      title: "fits",
      align: "left",
      value: (row) => ("refusal" in row ? row.refusal : ({ true: "yes", false: "no" }[String(row.step.fits)] ?? "-")),
    },
  ];
  const { device } = cluster;
  return [
    tableHeader(
      version,
      `${shape.name}: ${shortNumber(parametersOf(shape) / 1e9)} billion weights, ${dtype}; ${cluster.ranks} ranks of ${cluster.name} (${device.name}, ${device.memoryGiB ?? "?"} GiB)`,
      `origin: simulated; memory: counted, of the rank that needs most${isOwnHardware(hardwareOf(cluster), cluster) ? "" : "; rates of another device"}`,
    ),
    formatTable(columns, rows),
    `# ${rows.length} rows\n`,
  ].join("");
}
