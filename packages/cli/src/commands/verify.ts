import {
  formatDegrees,
  type OutputName,
  type Refusal,
  strategies,
  type VerificationCase,
  type VerificationReport,
  type VerificationRow,
  type VerificationSize,
  verifyStrategies,
} from "@hsap/bench";
import { InputError } from "@hsap/workload";
import { exitCodes } from "../exit-codes.ts";
import { batchOf, problemOf, seedOf, sourceOf } from "../given-problem.ts";
import { givenStrategy } from "../given-strategy.ts";
import { tableHeader } from "../header.ts";
import { interruptible } from "../interruption.ts";
import { follows, givenJob, launcherOf, launchRanks, onRanks } from "../launch-options.ts";
import { parseDegrees, parseStrategyOptions, wholeNumber } from "../option-values.ts";
import type { CommandContext, VerifyOptions } from "../program.ts";
import { startProgress } from "../progress.ts";
import { type Column, formatTable, shortError } from "../table.ts";
import { threadsOf } from "../thread-options.ts";

/** `hsap verify`: the suite, one problem, or one schedule from a file, against non-parallel attention in float64. */
export async function verify(options: VerifyOptions, context: CommandContext): Promise<void> {
  if (options.schedule !== undefined) {
    if (options.launcher !== undefined) {
      throw new InputError("conflicting options: --launcher and --schedule (a stored schedule is run on threads)");
    }
    await (await import("./verify-schedule.ts")).verifySchedule(options.schedule, options, context);
    return;
  }
  const { output, version, finish } = context;
  const job = givenJob(options, { ranks: 4, ranksPerNode: 4 });
  if (job?.launch) return launchRanks(options, job.ranks, job.own, context);
  const began = performance.now();
  const report = await runSuite(options, context);
  if (report === undefined) return;
  const seconds = (performance.now() - began) / 1000;
  const size = sizeOf(options);
  if (options.json) output.out(`${JSON.stringify({ size, seconds, ...report }, null, 2)}\n`);
  else {
    const what = sourceOf(options) === undefined ? `suite ${size}` : "the given problem";
    const twice = job === undefined ? "twice" : "over MPI and on threads";
    output.out(
      tableHeader(version, `${what}: forward and backward against float64, perturbation probe, same bits ${twice}`),
    );
    output.out(formatTable(columns, report.rows));
    output.out(footer(report, seconds));
  }
  if (report.wrong === 0 && report.rows.length > 0) return;
  const first = report.rows.find(({ verdict }) => verdict !== "ok");
  const what = first ? `${first.strategy} on ${first.ranks} ranks: ${first.verdict}` : "every strategy refused";
  output.err(`hsap: verification failed: ${report.wrong} of ${report.rows.length} rows are wrong (${what})\n`);
  finish(exitCodes.failed);
}

/** The report; undefined on a rank that rank 0 leads. */
async function runSuite(options: VerifyOptions, { output }: CommandContext): Promise<VerificationReport | undefined> {
  const cases = casesOf(options);
  const ranks = options.ranks === undefined || cases !== undefined ? undefined : [wholeNumber("ranks", options.ranks)];
  const named = options.strategy === undefined ? undefined : givenStrategy(options.strategy, options);
  const degrees = options.degrees === undefined ? undefined : parseDegrees(options.degrees);
  const progress = await startProgress(output);
  try {
    return await interruptible(
      () => (follows(options) ? "" : "interrupted: nothing is kept of a verification; start it again"),
      onRanks(options, (signal, job) =>
        verifyStrategies({
          strategies: named === undefined ? strategies : [named.strategy],
          size: sizeOf(options),
          seed: seedOf(options),
          ranks,
          cases,
          degrees,
          options: named?.options ?? parseStrategyOptions(options.option ?? []),
          faithful: options.faithful,
          threads: threadsOf(options),
          run: job?.run,
          signal,
          onProgress: progress.update,
        }),
      ),
    );
  } finally {
    progress.stop();
  }
}

/** What names one problem instead of the suite; --ranks-per-node does unless it says how a launcher places ranks. */
const shapeOptions = ["heads", "kvHeads", "headDim", "mask", "ranksPerNode", "cluster", "tokens"] as const;

/** The one problem that the options name, or undefined for the suite's own. */
function casesOf(options: VerifyOptions): VerificationCase[] | undefined {
  if (options.pass !== undefined && options.pass !== "both") {
    throw new InputError(
      `invalid pass: ${options.pass} (verify runs both: the backward pass reads what the forward pass saved)`,
    );
  }
  const overLauncher = launcherOf(options) !== "local";
  const named = shapeOptions.some((name) => options[name] !== undefined && !(overLauncher && name === "ranksPerNode"));
  if (sourceOf(options) !== undefined || named) {
    const batch = batchOf(options);
    return [{ name: batch.name, problem: problemOf(options, batch, "forward") }];
  }
  if (options.degrees !== undefined)
    throw new InputError(`invalid degrees: ${options.degrees} (the suite tries all; give --docs for one problem)`);
  return undefined;
}

function sizeOf({ quick, full }: VerifyOptions): VerificationSize {
  if (quick && full) throw new InputError("conflicting options: --quick and --full (give one)");
  return quick ? "quick" : full ? "full" : "default";
}

const errorColumn = (name: OutputName): Column<VerificationRow> => ({
  title: name,
  unit: "rel L2",
  value: ({ errors }) => shortError(errors[name]),
});

const columns: readonly Column<VerificationRow>[] = [
  { title: "strategy", align: "left", value: ({ strategy }) => strategy },
  { title: "ranks", value: ({ ranks }) => `${ranks}` },
  { title: "degrees", align: "left", value: ({ degrees }) => formatDegrees(degrees) },
  { title: "cases", value: ({ cases }) => `${cases}` },
  ...(["o", "lse", "dq", "dk", "dv"] as const).map(errorColumn),
  { title: "contaminated", unit: "pairs", value: ({ contaminatedPairs }) => `${contaminatedPairs}` },
  { title: "verdict", align: "left", value: ({ verdict }) => verdict },
];

function footer({ rows, refusals, runs, wrong }: VerificationReport, seconds: number): string {
  const cases = rows.reduce((sum, row) => sum + row.cases, 0);
  const refused = refusals.reduce((sum, refusal) => sum + refusal.cases, 0);
  const verdict = wrong === 0 && rows.length > 0 ? "ok" : `WRONG: ${wrong} of ${rows.length} rows`;
  const summary = [
    "# bounds: o, lse 1e-6; dq, dk, dv 3e-6 (bf16: 2.3e-3 but for lse); contaminated pairs 0",
    `# ${cases} cases, ${runs} runs, ${refused} cases refused, ${seconds.toFixed(1)} s`,
    `# verdict: ${verdict}`,
  ];
  return `${[...refusalLines(refusals), ...summary].join("\n")}\n`;
}

/** One line for each strategy that refused something: how often, on which numbers of ranks, and one of its reasons. */
function refusalLines(refusals: readonly Refusal[]): string[] {
  const names = [...new Set(refusals.map(({ strategy }) => strategy))];
  return names.map((name) => {
    const own = refusals.filter(({ strategy }) => strategy === name);
    const ranks = [...new Set(own.map((refusal) => refusal.ranks))].join(", ");
    const cases = own.reduce((sum, refusal) => sum + refusal.cases, 0);
    return `# refused by ${name}: ${cases} cases on ${ranks} ranks, such as: ${own[0].reason}`;
  });
}
