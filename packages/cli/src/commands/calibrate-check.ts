import { type CheckedRow, checkAgainstReality, checkedPacksNamed, type RealityCheck } from "@hsap/bench";
import type { Pass } from "@hsap/schedule";
import type { ThreadMachine } from "@hsap/simulator";
import { tableHeader } from "../header.ts";
import { interruptible } from "../interruption.ts";
import { oneOf, wholeNumber } from "../option-values.ts";
import type { CalibrateOptions, CommandContext } from "../program.ts";
import type { Progress } from "../progress.ts";
import { type Column, formatTable, shortNumber } from "../table.ts";

/** `hsap calibrate --check`: every strategy on six packs, run here and predicted from the profile. */
export async function checkProfile(
  machine: ThreadMachine,
  options: CalibrateOptions,
  { output, version }: CommandContext,
  progress: Progress,
): Promise<void> {
  const check = await interruptible(
    () => "interrupted: nothing is kept of a check; start it again",
    (signal) =>
      checkAgainstReality({
        machine,
        ranks: wholeNumber("ranks", options.ranks ?? "8", 2),
        repeats: wholeNumber("repeats", options.repeats ?? "5"),
        ...(options.pack !== undefined && { packs: checkedPacksNamed(options.pack) }),
        ...(options.pass !== undefined && { passes: passesNamed(options.pass) }),
        signal,
        onProgress: progress.update,
      }),
  );
  if (options.json) output.out(`${JSON.stringify({ origin: "measured, simulated", ...check }, null, 2)}\n`);
  else output.out(formatCheck(check, version));
}

function formatCheck(check: RealityCheck, version: string): string {
  const { ranks, cores, repeats, rows, errors, order } = check;
  const header = tableHeader(
    version,
    `${ranks} ranks on ${cores} cores, medians of ${repeats} runs in turn`,
    "origin: wall measured, predicted simulated",
  );
  const share = order.pairs === 0 ? "" : ` (${percent(order.right / order.pairs)} %)`;
  return [
    `${header}${formatTable(columns, rows)}`,
    `# error of ${rows.length} runs: median ${percent(errors.median)} %, worst ${percent(errors.worst)} %\n`,
    `# pairs of strategies measured more than 10 % apart: ${order.right} of ${order.pairs} predicted in that order${share}\n`,
  ].join("");
}

function passesNamed(text: string): Pass[] {
  const pass = oneOf("pass", text, ["forward", "backward", "both"]);
  return pass === "both" ? ["forward", "backward"] : [pass];
}

const percent = (share: number): string => (100 * share).toFixed(1);

const columns: readonly Column<CheckedRow>[] = [
  { title: "pack", align: "left", value: ({ pack }) => pack },
  { title: "pass", align: "left", value: ({ pass }) => pass },
  { title: "strategy", align: "left", value: ({ strategy }) => strategy },
  { title: "wall", unit: "ms", value: ({ measuredMs }) => shortNumber(measuredMs) },
  { title: "spread", unit: "%", value: ({ spread }) => percent(spread) },
  { title: "predicted", unit: "ms", value: ({ predictedMs }) => shortNumber(predictedMs) },
  { title: "error", unit: "%", value: ({ error }) => percent(error) },
];
