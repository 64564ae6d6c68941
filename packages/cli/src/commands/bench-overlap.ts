import { measureOverlap, type Overlap, strategies } from "@hsap/bench";
import { batchOf, problemOf, seedOf } from "../given-problem.ts";
import { givenStrategy } from "../given-strategy.ts";
import { tableHeader } from "../header.ts";
import { interruptible } from "../interruption.ts";
import { wholeNumber } from "../option-values.ts";
import type { BenchOverlapOptions, CommandContext } from "../program.ts";
import { startProgress } from "../progress.ts";
import { formatTable, shortNumber } from "../table.ts";

const defaults = ["ring", "zigzag", "allgather", "hsap"];

/** `hsap bench overlap`: how much of its communication each strategy hides when links are as slow as its computation. */
export async function benchOverlap(options: BenchOverlapOptions, { output, version }: CommandContext): Promise<void> {
  const repeats = wholeNumber("repeats", options.repeats ?? "5");
  const chosen =
    options.strategy === undefined
      ? strategies.filter(({ name }) => defaults.includes(name))
      : [givenStrategy(options.strategy, options).strategy];
  const ranks = options.ranks ?? "2";
  const given = { ...options, ranks, ranksPerNode: options.ranksPerNode ?? ranks };
  const batch = batchOf(given);
  const problem = problemOf(given, batch, "forward");
  const linkBytesPerSecond = options.link === undefined ? undefined : wholeNumber("link", options.link) * 1e6;
  const progress = await startProgress(output);
  try {
    const rows = await interruptible(
      () => "interrupted: nothing is kept of a benchmark; start it again",
      (signal) =>
        measureOverlap(problem, {
          ...{ strategies: chosen, repeats, linkBytesPerSecond, signal },
          seed: seedOf(options),
          onProgress: progress.update,
        }),
    );
    output.out(
      options.json
        ? `${JSON.stringify({ mix: batch.name, ranks: Number(ranks), repeats, rows }, null, 2)}\n`
        : formatOverlap(rows, batch.name, repeats, version),
    );
  } finally {
    progress.stop();
  }
}

function formatOverlap(rows: readonly Overlap[], mix: string, repeats: number, version: string): string {
  const header = tableHeader(
    version,
    `${mix}, forward, medians of ${repeats} interleaved rounds, on the clock`,
    "computation: the run over links without a limit; communication: its transfers alone over slow links; both: the run over them",
    "hidden: share of the shorter of the two that ran beside the longer",
    "origin: measured",
  );
  const ms = (value: number) => shortNumber(value);
  const table = formatTable<Overlap>(
    [
      { title: "strategy", align: "left", value: ({ strategy }) => strategy },
      { title: "link", unit: "MB/s", value: ({ linkBytesPerSecond }) => shortNumber(linkBytesPerSecond / 1e6) },
      { title: "computation", unit: "ms", value: ({ computationMs }) => ms(computationMs) },
      { title: "communication", unit: "ms", value: ({ communicationMs }) => ms(communicationMs) },
      { title: "both", unit: "ms", value: ({ wallMs }) => ms(wallMs) },
      { title: "/longer", value: ({ overLonger }) => shortNumber(overLonger) },
      { title: "/sum", value: ({ overSum }) => shortNumber(overSum) },
      { title: "hidden", unit: "%", value: ({ hidden }) => (hidden * 100).toFixed(0) },
    ],
    rows,
  );
  return `${header}${table}# ${rows.length} rows\n`;
}
