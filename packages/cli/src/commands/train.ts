import { existsSync } from "node:fs";
import { chosenDegrees, formatDegrees, simulatedStep } from "@hsap/bench";
import { clusterOf, presetCluster } from "@hsap/cluster";
import { chosenIsa, productsOf } from "@hsap/engine";
import {
  memoryKinds,
  memoryOf,
  modelNamed,
  parametersOf,
  type RankMemory,
  type WeightPlacement,
  weightPlacements,
} from "@hsap/model";
import { type Degrees, type Dtype, publishedOptions } from "@hsap/schedule";
import {
  batchOf,
  dtypeOf,
  initialState,
  layerStrategyNamed,
  readCheckpoint,
  type StepRecord,
  saveCheckpoint,
  stepProblem,
  type TrainingData,
  type TrainingOptions,
  type TrainingState,
  trainStep,
} from "@hsap/training";
import { InputError } from "@hsap/workload";
import { tableHeader } from "../header.ts";
import { interruptible } from "../interruption.ts";
import { layersOf, recomputationOf } from "../layer-options.ts";
import { oneOf, parseDegrees, parseStrategyOptions, wholeNumber } from "../option-values.ts";
import type { CommandContext } from "../program.ts";
import { formatTable, megabytes, shortNumber } from "../table.ts";
import { threadsOf } from "../thread-options.ts";
import type { TrainOptions } from "../train-options.ts";

/** `hsap train`: a model, step by step, on packed documents of real lengths and synthetic text, with any strategy. */
export async function train(options: TrainOptions, { output, version }: CommandContext): Promise<void> {
  if (options.results !== undefined) throw new InputError("conflicting options: --results needs --check");
  const training = trainingOf(options);
  const steps = wholeNumber("steps", options.steps ?? "200");
  const every = wholeNumber("every", options.every ?? "20");
  const { checkpoint } = options;
  if (options.resume && checkpoint === undefined)
    throw new InputError("missing checkpoint: --resume needs --checkpoint");
  let state = startOf(training, options.resume ? checkpoint : undefined);
  if (!options.json) output.out(headerOf(training, state, version));
  const rows: StepRecord[] = [];
  const keep = () => {
    if (checkpoint !== undefined) saveCheckpoint(checkpoint, state, training);
  };
  await interruptible(
    () => `interrupted after step ${state.step}${checkpoint === undefined ? "" : "; --resume goes on"}`,
    async (signal) => {
      while (state.step < steps) {
        let record: StepRecord;
        try {
          [state, record] = await trainStep(state, { ...training, signal });
        } catch (error) {
          if (signal.aborted) keep();
          throw error;
        }
        if (options.json) output.out(`${JSON.stringify(record)}\n`);
        rows.push(record);
        if (state.step % every !== 0 && state.step !== steps) continue;
        keep();
        if (!options.json) output.out(rowOf(rows.splice(0)));
      }
    },
  );
  if (!options.json) output.out(`# ${state.step} steps\n`);
}

/** What the options say, checked; `strategy` instead of theirs where it is given. */
export function trainingOf(options: TrainOptions, name = options.strategy ?? "hsap"): TrainingOptions {
  const ranks = wholeNumber("ranks", options.ranks ?? "4");
  const ranksPerNode = wholeNumber("ranks-per-node", options.ranksPerNode ?? "4");
  const rate = Number(options.learningRate ?? "0.003");
  if (!(rate > 0 && rate < 1))
    throw new InputError(`invalid learning-rate: ${options.learningRate} (must be above 0 and below 1)`);
  const strategy = layerStrategyNamed(name, placementOf(options, name));
  const published = options.faithful ? publishedOptions(strategy) : {};
  if (options.faithful && Object.keys(published).length === 0)
    throw new InputError(`invalid faithful: ${name} (does by default what was published)`);
  const training: TrainingOptions = {
    model: modelNamed(options.model ?? "tiny"),
    mix: options.mix ?? "chat",
    tokens: wholeNumber("tokens", options.tokens ?? "1024"),
    seed: wholeNumber("seed", options.seed ?? "1", 0),
    strategy,
    strategyOptions: { ...published, ...parseStrategyOptions(options.option ?? []) },
    contaminated: options.faithful ?? false,
    cluster: clusterOf({ ranks, ranksPerNode, from: presetCluster("local") }),
    ...{ recompute: recomputationOf(options.recompute), ...layersOf(options) },
    dtype: oneOf("dtype", options.dtype ?? "fp32", ["fp32", "bf16"]),
    optimiser: { learningRate: rate },
    ...threadsOf(options),
  };
  return options.degrees === undefined ? training : { ...training, degrees: degreesOf(options.degrees, training) };
}

/** Where weights are to lie, if that was said. Megatron splits its weights itself, which is no error in a list of strategies to check. */
export function placementOf({ weights, check }: TrainOptions, name: string): WeightPlacement | undefined {
  if (weights === undefined || (name === "megatron" && check)) return undefined;
  return oneOf("weights", weights, weightPlacements);
}

/** `auto` and `fastest` are chosen by the predicted time of the first step. */
function degreesOf(text: string, training: TrainingOptions): Degrees {
  const chosen = chosenDegrees.find((name) => name === text);
  if (chosen === undefined) return parseDegrees(text);
  const { strategy, strategyOptions = {} } = training;
  const problem = stepProblem(batchOf(training, 1), training);
  return simulatedStep(problem, strategy, { degrees: chosen, strategyOptions }).degrees;
}

/** The state of a checkpoint that is there, if it is one of the same training; otherwise the first one. */
function startOf(training: TrainingData, checkpoint: string | undefined): TrainingState {
  if (checkpoint === undefined || !existsSync(checkpoint)) return initialState(training);
  const { state, data } = readCheckpoint(checkpoint);
  for (const name of ["mix", "tokens", "seed"] as const) {
    if (data[name] !== training[name])
      throw new InputError(`invalid ${name}: ${training[name]} (the checkpoint was trained with ${data[name]})`);
  }
  if (data.dtype !== dtypeOf(training))
    throw new InputError(`invalid dtype: ${dtypeOf(training)} (the checkpoint was trained with ${data.dtype})`);
  if (data.model.name !== training.model.name)
    throw new InputError(`invalid model: ${training.model.name} (the checkpoint is of ${data.model.name})`);
  return state;
}

function headerOf(training: TrainingOptions, state: TrainingState, version: string): string {
  const { model, mix, tokens, strategy, cluster } = training;
  const problem = stepProblem(batchOf(training, state.step + 1), training);
  const degrees = training.degrees ?? strategy.defaultDegrees(problem);
  const schedules = strategy.compile(problem, degrees, training.strategyOptions);
  const memory = memoryOf(problem, schedules);
  const largest = memory.reduce((most, rank) => (rank.total > most.total ? rank : most));
  return [
    tableHeader(
      version,
      `${model.name}: ${shortNumber(parametersOf(model) / 1e6)} million weights; mix ${mix}, ${tokens} tokens a step`,
      `${strategy.name} ${formatDegrees(schedules.loss.degrees)}, ${cluster.ranks} ranks`,
      precisionText(problem.dtype),
      `memory of the largest rank (counted): ${memoryText(largest)}`,
      "loss, gradient and ms are means since the row before, arena is the most of any rank; origin: measured",
    ),
    formatTable<readonly string[]>(
      columns.map(([title, unit, width], i) => ({ title: title.padStart(width), unit, value: (row) => row[i] })),
      [],
    ),
  ].join("");
}

const precisionText = (dtype: Dtype): string =>
  `${dtype === "bf16" ? "bf16: activations, weights and messages; fp32: sums, gradients, the optimiser's weights and moments" : "fp32: everything"}; matrix products: ${productsOf(dtype, chosenIsa(dtype))}`;

const memoryText = (memory: RankMemory): string =>
  [...memoryKinds.map((kind) => `${kind} ${megabytes(memory[kind])}`), `together ${megabytes(memory.total)} MB`].join(
    ", ",
  );

/** Titles, units and widths: rows are printed as they come, so that widths cannot be taken from them. */
const columns = [
  ["step", "", 6],
  ["loss", "nats", 8],
  ["gradient", "L2", 8],
  ["documents", "", 9],
  ["compile", "ms", 8],
  ["run", "ms", 8],
  ["tokens", "/s", 8],
  ["arena", "MB", 8],
] as const;

function rowOf(records: readonly StepRecord[]): string {
  const mean = (value: (record: StepRecord) => number) =>
    records.reduce((sum, record) => sum + value(record), 0) / records.length;
  const runMs = mean((record) => record.runMs);
  const cells = [
    String(records[records.length - 1].step),
    mean(({ loss }) => loss).toFixed(4),
    shortNumber(mean(({ gradientNorm }) => gradientNorm)),
    shortNumber(mean(({ documents }) => documents)),
    shortNumber(mean(({ compileMs }) => compileMs)),
    shortNumber(runMs),
    shortNumber((1000 * mean(({ tokens }) => tokens)) / runMs),
    megabytes(Math.max(...records.map(({ residentBytes }) => residentBytes))),
  ];
  return `  ${cells.map((cell, i) => cell.padStart(columns[i][2])).join("  ")}\n`;
}
