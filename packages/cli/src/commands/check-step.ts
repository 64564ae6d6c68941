import { resolve } from "node:path";
import {
  type CheckedTraining,
  formatDegrees,
  isEqualStep,
  runStepChecks,
  type StepCheck,
  type StepChecksResult,
} from "@hsap/bench";
import { chosenIsa, productsOf } from "@hsap/engine";
import { parametersOf } from "@hsap/model";
import { layerStrategyNames, type TrainingOptions } from "@hsap/training";
import { exitCodes } from "../exit-codes.ts";
import { tableHeader } from "../header.ts";
import { interruptible } from "../interruption.ts";
import { commaList } from "../option-values.ts";
import type { CommandContext } from "../program.ts";
import { startProgress } from "../progress.ts";
import { shownPath } from "../shown-path.ts";
import { formatTable, shortError, shortNumber } from "../table.ts";
import type { TrainOptions } from "../train-options.ts";
import { placementOf, trainingOf } from "./train.ts";

/** `hsap train --check`: the first step with each strategy, loss and every gradient against the step of one rank. */
export async function checkStep(options: TrainOptions, context: CommandContext): Promise<void> {
  const { output, version, args, finish } = context;
  const trainings = checkedTrainings(options);
  const folder = options.results === undefined ? undefined : resolve(options.results);
  let checks = 0;
  const kept = () =>
    folder === undefined
      ? "interrupted: nothing is kept of a check without --results"
      : `interrupted: ${checks} of ${trainings.length} checks are kept in ${shownPath(folder)}; the same command goes on from there`;
  const progress = trainings.length > 1 ? await startProgress(output) : undefined;
  let result: StepChecksResult;
  try {
    result = await interruptible(kept, (signal) =>
      runStepChecks(trainings, {
        ...{ folder, signal, arguments: args },
        onNote: (note) => (progress === undefined ? output.err(`${note}\n`) : progress.note(note)),
        onProgress: (state) => {
          checks = state.trials;
          progress?.update(state.done, `${checks}/${trainings.length} ${state.label}`);
        },
      }),
    );
  } finally {
    progress?.stop();
  }
  if (options.json) output.out(`${JSON.stringify(jsonOf(result), null, 2)}\n`);
  else output.out(tableOf(result, trainings[0].training, version));
  if (result.checks.some((check) => !isEqualStep(check))) finish(exitCodes.failed);
}

/** Of the strategies named; with `all`, of every one but the reference, in groups where they do not take all ranks. */
function checkedTrainings(options: TrainOptions): CheckedTraining[] {
  const isAll = options.strategy === "all";
  const names = isAll
    ? layerStrategyNames.filter((name) => name !== "reference")
    : commaList(options.strategy ?? "hsap");
  return names.map((name) => ({
    training: trainingOf(options, name),
    weights: placementOf(options, name) ?? (name === "megatron" ? undefined : "sharded"),
    orInGroups: isAll && options.degrees === undefined,
  }));
}

const jsonOf = ({ checks, refused }: StepChecksResult) => ({
  by: checks[0]?.by,
  loss: checks[0]?.expectedLoss,
  rows: checks.map((check) => ({
    ...{ strategy: check.strategy, degrees: check.usedDegrees, ok: isEqualStep(check) },
    ...{ loss: check.lossError, gradient: check.gradientError, worst: check.worstGradient, runMs: check.runMs },
  })),
  refused,
});

function tableOf({ checks, refused, checkedNow }: StepChecksResult, first: TrainingOptions, version: string): string {
  const { model, cluster, tokens, mix } = first;
  const allowedText = ({ dtype, allowed }: StepCheck): string[] =>
    allowed === undefined
      ? []
      : [
          `${dtype}: allowed are ${shortError(allowed.loss)} of the loss, and ${shortError(allowed.gradient)} of gradients, twice what one rank in ${dtype} has; matrix products: ${productsOf(dtype, chosenIsa(dtype))}`,
        ];
  const beside =
    checks.length === 0
      ? []
      : [
          `errors are relative to ${checks[0].by === "float64" ? "float64" : "the engine's fp32 step on one rank"}, of gradients in L2; loss ${checks[0].expectedLoss.toFixed(6)} nats`,
          ...allowedText(checks[0]),
        ];
  const inGroups = checks.flatMap(({ strategy, refusal }) => (refusal === undefined ? [] : [{ strategy, refusal }]));
  return [
    tableHeader(
      version,
      `${model.name}: ${shortNumber(parametersOf(model) / 1e6)} million weights; mix ${mix}, ${tokens} tokens; ${cluster.ranks} ranks`,
      ...beside,
      "origin: measured",
    ),
    formatTable<StepCheck>(
      [
        { title: "strategy", align: "left", value: ({ strategy }) => strategy },
        { title: "degrees", align: "left", value: ({ usedDegrees }) => formatDegrees(usedDegrees) },
        { title: "loss", value: ({ lossError }) => shortError(lossError ?? Number.NaN) },
        { title: "gradient", unit: "worst", value: ({ gradientError }) => shortError(gradientError ?? Number.NaN) },
        { title: "of", align: "left", value: ({ worstGradient }) => worstGradient },
        { title: "run", unit: "ms", value: ({ runMs }) => shortNumber(runMs) },
        { title: "#wrong", value: (check) => (isEqualStep(check) ? "0" : "1") },
      ],
      checks,
    ),
    ...inGroups.map(({ strategy, refusal }) => `# ${strategy} runs in data groups; over all ranks: ${refusal}\n`),
    ...refused.map(({ strategy, reason }) => `# ${strategy} cannot run: ${reason}\n`),
    `# ${checks.length} strategies, ${checks.filter((check) => !isEqualStep(check)).length} wrong; ${checkedNow} checked now\n`,
  ].join("");
}
