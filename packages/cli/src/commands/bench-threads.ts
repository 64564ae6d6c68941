import { measureThreadScaling, type ThreadScaling } from "@hsap/bench";
import { exitCodes } from "../exit-codes.ts";
import { batchOf, passesOf, problemOf, seedOf } from "../given-problem.ts";
import { givenStrategy } from "../given-strategy.ts";
import { tableHeader } from "../header.ts";
import { interruptible } from "../interruption.ts";
import { commaList, wholeNumber } from "../option-values.ts";
import type { BenchThreadsOptions, CommandContext } from "../program.ts";
import { startProgress } from "../progress.ts";
import { formatTable, shortNumber } from "../table.ts";
import { pinOf, threadCount } from "../thread-options.ts";

/** `hsap bench threads`: how much faster a rank is on several threads, and whether its bits stay the same. */
export async function benchThreads(
  options: BenchThreadsOptions,
  { output, version, finish }: CommandContext,
): Promise<void> {
  const threads = listOf(options.threads ?? "1,2");
  const repeats = wholeNumber("repeats", options.repeats ?? "5");
  const pin = pinOf(options.pin);
  const { strategy } = givenStrategy(options.strategy ?? "reference", options);
  const given = { ...options, ranks: options.ranks ?? "1", ranksPerNode: options.ranksPerNode ?? options.ranks ?? "1" };
  const drawn = given.docs === undefined && given.pack === undefined && given.lengths === undefined;
  const batch = batchOf(drawn ? { ...given, tokens: given.tokens ?? "16384" } : given);
  const problem = problemOf(given, batch, "forward");
  const progress = await startProgress(output);
  try {
    const rows = await interruptible(
      () => "interrupted: nothing is kept of a benchmark; start it again",
      (signal) =>
        measureThreadScaling(problem, {
          ...{ strategy, threads, repeats, pin, signal },
          passes: passesOf(options, ["forward", "backward"]),
          seed: seedOf(options),
          onProgress: progress.update,
        }),
    );
    output.out(
      options.json
        ? `${JSON.stringify({ mix: batch.name, repeats, shape: problem.shape, rows }, null, 2)}\n`
        : formatThreads(rows, batch.name, repeats, version),
    );
    if (rows.some(({ sameBits }) => !sameBits)) {
      output.err("hsap: other bits on another number of threads\n");
      finish(exitCodes.failed);
    }
  } finally {
    progress.stop();
  }
}

function listOf(text: string): number[] {
  return commaList(text).map((entry) => threadCount("threads", entry));
}

function formatThreads(rows: readonly ThreadScaling[], mix: string, repeats: number, version: string): string {
  const header = tableHeader(
    version,
    `${mix}, medians of ${repeats} interleaved rounds, on the clock`,
    `speedup: median of the rounds' ratios to ${rows[0]?.threads} threads a rank, with its 95 % interval`,
    "origin: measured",
  );
  const left = { align: "left" } as const;
  const table = formatTable<ThreadScaling>(
    [
      { title: "strategy", ...left, value: ({ strategy }) => strategy },
      { title: "pass", ...left, value: ({ pass }) => pass },
      { title: "ranks", value: ({ ranks }) => String(ranks) },
      { title: "threads", unit: "per rank", value: ({ threads }) => String(threads) },
      { title: "time", unit: "ms", value: ({ wallMs }) => shortNumber(wallMs) },
      { title: "processor", unit: "ms", value: ({ processorMs }) => shortNumber(processorMs) },
      { title: "rate", unit: "GFLOP/s", value: ({ gflops }) => shortNumber(gflops) },
      { title: "speedup", value: ({ speedup }) => shortNumber(speedup.estimate) },
      { title: "low", value: ({ speedup }) => shortNumber(speedup.low) },
      { title: "high", value: ({ speedup }) => shortNumber(speedup.high) },
      { title: "bits", ...left, value: ({ sameBits }) => (sameBits ? "same" : "OTHER") },
      { title: "cores", ...left, value: ({ placed }) => placed.cores.join(",") || `unpinned: ${placed.unpinned}` },
    ],
    rows,
  );
  return `${header}${table}# ${rows.length} rows\n`;
}
