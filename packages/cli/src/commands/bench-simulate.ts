import { measureSimulateTimes, type SimulateTimes, type SimulateTimesReport, strategies } from "@hsap/bench";
import { passesOf } from "../given-problem.ts";
import { tableHeader } from "../header.ts";
import { interruptible } from "../interruption.ts";
import { commaList, wholeNumber } from "../option-values.ts";
import type { BenchSimulateOptions, CommandContext } from "../program.ts";
import { startProgress } from "../progress.ts";
import { formatTable, shortNumber } from "../table.ts";

/** `hsap bench simulate`: how long schedules of the packs that come with the project, and larger ones, take to be simulated. */
export async function benchSimulate(options: BenchSimulateOptions, { output, version }: CommandContext): Promise<void> {
  const processes = wholeNumber("repeats", options.repeats ?? "3");
  const chosen = options.strategy === undefined ? strategies.map(({ name }) => name) : commaList(options.strategy);
  const packs = commaList(options.pack ?? "hybrid-64");
  const passes = passesOf(options, ["forward"]);
  const progress = await startProgress(output);
  try {
    const parts = await interruptible(
      () => "interrupted: nothing is kept of a benchmark; start it again",
      async (signal) => {
        const measured: SimulateTimesReport[] = [];
        for (const pass of passes) {
          const onProgress = progress.update;
          measured.push(await measureSimulateTimes({ strategies: chosen, packs, pass, processes, signal, onProgress }));
        }
        return measured;
      },
    );
    const rows = parts.flatMap((part) => part.rows);
    const refused = parts.flatMap((part) => part.refused);
    const report = { origin: "measured", processes, rows, refused };
    output.out(
      options.json ? `${JSON.stringify(report, null, 2)}\n` : formatTimes({ rows, refused }, processes, version),
    );
  } finally {
    progress.stop();
  }
}

function formatTimes({ rows, refused }: SimulateTimesReport, processes: number, version: string): string {
  const header = tableHeader(
    version,
    `processor time of simulating a compiled schedule; medians over ${processes} processes for each pack and strategy`,
    "first: the first call in a process; warm: later ones; peak: the process's memory, schedule included",
    "origin: measured; the step is simulated",
  );
  const table = formatTable<SimulateTimes>(
    [
      { title: "pack", align: "left", value: ({ pack }) => pack },
      { title: "strategy", align: "left", value: ({ strategy }) => strategy },
      { title: "pass", align: "left", value: ({ pass }) => pass },
      { title: "ranks", value: ({ ranks }) => String(ranks) },
      { title: "ops", value: ({ ops }) => String(ops) },
      { title: "first", unit: "ms", value: ({ cpuMs }) => shortNumber(cpuMs.first) },
      { title: "warm", unit: "ms", value: ({ cpuMs }) => shortNumber(cpuMs.warm) },
      { title: "peak", unit: "MiB", value: ({ peakMiB }) => shortNumber(peakMiB) },
      { title: "step", unit: "simulated ms", value: ({ stepMs }) => shortNumber(stepMs) },
    ],
    rows,
  );
  const notes = refused.map(({ pack, strategy, reason }) => `# refused: ${pack}, ${strategy}: ${reason}\n`);
  return `${header}${table}${notes.join("")}# ${rows.length} rows\n`;
}
