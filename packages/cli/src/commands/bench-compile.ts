import { mkdirSync, writeFileSync } from "node:fs";
import { cpus } from "node:os";
import { dirname } from "node:path";
import {
  type CompileTimes,
  type CompileTiming,
  compileTimings,
  formatDegrees,
  largePacks,
  measureCompileTimes,
  timedCalls,
  timedMs,
  warmUpCalls,
  warmUpMs,
} from "@hsap/bench";
import { drawCompileTimes } from "@hsap/figures";
import { packNames } from "@hsap/workload";
import { figureFormat } from "../figure-format.ts";
import { tableHeader } from "../header.ts";
import { interruptible } from "../interruption.ts";
import { commaList, wholeNumber } from "../option-values.ts";
import type { BenchCompileOptions, CommandContext } from "../program.ts";
import { startProgress } from "../progress.ts";
import { type Column, formatTable, shortNumber } from "../table.ts";

/** `hsap bench compile`: how long a strategy takes to compile the packs that come with the project, and larger ones. */
export async function benchCompile(options: BenchCompileOptions, { output, version }: CommandContext): Promise<void> {
  const strategy = options.strategy ?? "hsap";
  const processes = wholeNumber("repeats", options.repeats ?? "3");
  const draw = options.figure === undefined ? undefined : figureFormat(options.figure);
  const given = options.pack === undefined ? packNames() : commaList(options.pack);
  const packs = [...given, ...(options.scale ? largePacks : [])];
  const progress = await startProgress(output);
  try {
    const times = await interruptible(
      () => "interrupted: nothing is kept of a benchmark; start it again",
      (signal) => measureCompileTimes({ strategy, packs, processes, signal, onProgress: progress.update }),
    );
    const rows = times.sort((a, b) => a.ranks - b.ranks || (a.pack < b.pack ? -1 : a.pack > b.pack ? 1 : 0));
    const report = { strategy, processes, warmUpMs, warmUpCalls, timedCalls, rows };
    if (draw !== undefined && options.figure !== undefined) {
      mkdirSync(dirname(options.figure), { recursive: true });
      const processor = cpus()[0]?.model.trim() ?? "unknown processor";
      writeFileSync(options.figure, draw(drawCompileTimes({ strategy, processor, rows })));
    }
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

const shownMs = (milliseconds: number | undefined) => (milliseconds === undefined ? "-" : shortNumber(milliseconds));

/** Of the others the median says enough in a table; JSON has both. */
const percentile95: readonly CompileTiming[] = ["cold"];

function formatTimes({ strategy, processes, rows }: CompileTimesReport, version: string): string {
  const header = tableHeader(
    version,
    `${strategy}, on the clock; ${processes} processes for each pack`,
    "first: the first call in a process; cold: degrees chosen, all programs, nothing reused; plan: what ranks share;",
    "rank: degrees, plan and one rank's program; cached: an equal problem asked again",
    `all but first: ${timedCalls} calls a process (fewer where they take over ${timedMs} ms) after ${warmUpMs} ms and ${warmUpCalls} calls of others`,
    "origin: measured",
  );
  const present = compileTimings.filter((timing) => rows.some(({ compileMs }) => compileMs[timing] !== undefined));
  const timings = present.flatMap((timing) =>
    (["p50", "p95"] as const)
      .filter((of) => of === "p50" || percentile95.includes(timing))
      .map(
        (of): Column<CompileTimes> => ({
          title: timing,
          unit: `ms ${of}`,
          value: ({ compileMs }) => shownMs(compileMs[timing]?.[of]),
        }),
      ),
  );
  const table = formatTable<CompileTimes>(
    [
      { title: "pack", align: "left", value: ({ pack }) => pack },
      { title: "pass", align: "left", value: ({ pass }) => pass },
      { title: "documents", value: ({ documents }) => String(documents) },
      { title: "degrees", align: "left", value: ({ degrees }) => formatDegrees(degrees) },
      { title: "ops", value: ({ ops }) => String(ops) },
      { title: "MiB", value: ({ bytes }) => shortNumber(bytes / 2 ** 20) },
      ...timings,
    ],
    rows,
  );
  return `${header}${table}# ${rows.length} rows\n`;
}
