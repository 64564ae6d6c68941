import { type CompileTimes, measureCompileTimes, warmCalls, warmUpCalls } from "@hsap/bench";
import { packNames } from "@hsap/workload";
import { tableHeader } from "../header.ts";
import { interruptible } from "../interruption.ts";
import { wholeNumber } from "../option-values.ts";
import type { BenchCompileOptions, CommandContext } from "../program.ts";
import { startProgress } from "../progress.ts";
import { formatTable, shortNumber } from "../table.ts";

/** `hsap bench compile`: how long a strategy takes to compile the packs that come with the project. */
export async function benchCompile(options: BenchCompileOptions, { output, version }: CommandContext): Promise<void> {
  const strategy = options.strategy ?? "hsap";
  const processes = wholeNumber("repeats", options.repeats ?? "5");
  const packs = options.pack === undefined ? packNames() : options.pack.split(",").map((name) => name.trim());
  const progress = await startProgress(output);
  try {
    const times = await interruptible(
      () => "interrupted: nothing is kept of a benchmark; start it again",
      (signal) => measureCompileTimes({ strategy, packs, processes, signal, onProgress: progress.update }),
    );
    const rows = times.sort((a, b) => a.ranks - b.ranks || (a.pack < b.pack ? -1 : 1));
    const report = { strategy, processes, warmUpCalls, warmCalls, rows };
    output.out(options.json ? `${JSON.stringify(report, null, 2)}\n` : formatTimes(report, version));
  } finally {
    progress.stop();
  }
}

interface CompileTimesReport {
  readonly strategy: string;
  readonly processes: number;
  readonly rows: readonly CompileTimes[];
}

function formatTimes({ strategy, processes, rows }: CompileTimesReport, version: string): string {
  const header = tableHeader(
    version,
    `${strategy}, choice of degrees included, on the clock; ${processes} processes for each pack`,
    `cold: the first call in a process; warm: ${warmCalls} calls after ${warmUpCalls} more, nothing reused`,
    "origin: measured",
  );
  const table = formatTable<CompileTimes>(
    [
      { title: "pack", align: "left", value: ({ pack }) => pack },
      { title: "ranks", value: ({ ranks }) => String(ranks) },
      { title: "documents", value: ({ documents }) => String(documents) },
      { title: "cold", unit: "ms p50", value: ({ compileMs }) => shortNumber(compileMs.cold.p50) },
      { title: "cold", unit: "ms p95", value: ({ compileMs }) => shortNumber(compileMs.cold.p95) },
      { title: "warm", unit: "ms p50", value: ({ compileMs }) => shortNumber(compileMs.warm.p50) },
      { title: "warm", unit: "ms p95", value: ({ compileMs }) => shortNumber(compileMs.warm.p95) },
    ],
    rows,
  );
  return `${header}${table}# ${rows.length} packs\n`;
}
