import { parametersOf } from "@hsap/model";
import { allowedErrors, expectedFirstStep, firstStepErrors, type StepErrors } from "@hsap/training";
import { exitCodes } from "../exit-codes.ts";
import { tableHeader } from "../header.ts";
import { interruptible } from "../interruption.ts";
import { commaList } from "../option-values.ts";
import type { CommandContext } from "../program.ts";
import { formatTable, shortError, shortNumber } from "../table.ts";
import type { TrainOptions } from "../train-options.ts";
import { trainingOf } from "./train.ts";

/** `hsap train --check`: the first step with each strategy, loss and every gradient against the step of one rank. */
export async function checkStep(options: TrainOptions, { output, version, finish }: CommandContext): Promise<void> {
  const names = commaList(options.strategy ?? "hsap");
  const trainings = names.map((name) => trainingOf(options, name));
  await interruptible(
    () => "interrupted: nothing is kept of a check",
    async (signal) => {
      const [first] = trainings;
      const expected = await expectedFirstStep({ ...first, signal });
      const rows: (StepErrors & { strategy: string; ok: boolean })[] = [];
      for (const training of trainings) {
        const errors = await firstStepErrors({ ...training, signal }, expected);
        // A comparison with NaN must not pass.
        const ok = errors.loss < allowedErrors.loss && errors.gradient < allowedErrors.gradient;
        rows.push({ strategy: training.strategy.name, ok, ...errors });
      }
      const { model, cluster, tokens, mix } = first;
      if (options.json) output.out(`${JSON.stringify({ by: expected.by, loss: expected.loss, rows }, null, 2)}\n`);
      else {
        const header = tableHeader(
          version,
          `${model.name}: ${shortNumber(parametersOf(model) / 1e6)} million weights; mix ${mix}, ${tokens} tokens; ${cluster.ranks} ranks`,
          `errors are relative to ${expected.by === "float64" ? "float64" : "the engine's fp32 step on one rank"}, of gradients in L2; loss ${expected.loss.toFixed(6)} nats`,
          "origin: measured",
        );
        output.out(
          header +
            formatTable(
              [
                { title: "strategy", align: "left", value: ({ strategy }) => strategy },
                { title: "loss", value: ({ loss }) => shortError(loss) },
                { title: "gradient", unit: "worst", value: ({ gradient }) => shortError(gradient) },
                { title: "of", align: "left", value: ({ worst }) => worst },
                { title: "run", unit: "ms", value: ({ runMs }) => shortNumber(runMs) },
                { title: "#wrong", value: ({ ok }) => (ok ? "0" : "1") },
              ],
              rows,
            ) +
            `# ${rows.length} strategies, ${rows.filter(({ ok }) => !ok).length} wrong\n`,
        );
      }
      if (rows.some(({ ok }) => !ok)) finish(exitCodes.failed);
    },
  );
}
