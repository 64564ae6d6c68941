import { writeFileSync } from "node:fs";
import { type Comparison, compareStrategies, strategies } from "@hsap/bench";
import { readHardware } from "@hsap/simulator";
import { InputError } from "@hsap/workload";
import { type ComparedReport, comparedReport, formatComparison } from "../compared-report.ts";
import { exitCodes } from "../exit-codes.ts";
import { batchOf, passesOf, problemOf, seedOf } from "../given-problem.ts";
import { givenStrategy } from "../given-strategy.ts";
import { interruptible } from "../interruption.ts";
import { follows, givenJob, launcherOf, launchRanks, onRanks } from "../launch-options.ts";
import { parseDegrees, parseStrategyOptions, wholeNumber } from "../option-values.ts";
import type { CommandContext, CompareOptions } from "../program.ts";
import { startProgress } from "../progress.ts";
import { threadsOf } from "../thread-options.ts";
import { memoryCapOf } from "./compile.ts";

/** `hsap compare`: one problem and all strategies side by side, or the page over the packs that come with the project. */
export async function compare(options: CompareOptions, context: CommandContext): Promise<void> {
  if (options.packs) {
    if (options.launcher !== undefined)
      throw new InputError("conflicting options: --packs and --launcher (it runs nothing)");
    await (await import("./compare-packs.ts")).comparePacks(options, context);
    return;
  }
  const job = givenJob(options, { ranks: 8, ranksPerNode: 4 });
  if (job !== undefined && !options.measure)
    throw new InputError("missing option: --launcher needs --measure (nothing else runs)");
  if (job?.launch) return launchRanks(options, job.ranks, job.own, context);
  if (options.replay) throw new InputError("missing packs: --replay (of one problem: hsap simulate --replay)");
  if (options.out !== undefined) throw new InputError(`invalid out: ${options.out} (only --packs writes a page)`);
  const { output, version, finish } = context;
  if (options.figure !== undefined && !/\.(svg|png)$/.test(options.figure)) {
    throw new InputError(`invalid figure: ${options.figure} (must end in .svg or .png)`);
  }
  const comparison = await compareGiven(options, context);
  if (comparison === undefined) return;
  const report = comparedReport(comparison);
  if (options.figure !== undefined) await drawInto(options.figure, comparison, context);
  output.out(options.json ? `${JSON.stringify(report, null, 2)}\n` : formatComparison(report, version));
  const wrong = report.strategies.filter(({ verdict }) => verdict !== "ok").length;
  if (wrong === 0 && report.strategies.length > 0) return;
  output.err(`hsap: ${wrong} of ${report.strategies.length} strategies are wrong (${firstFault(report)})\n`);
  finish(exitCodes.failed);
}

/** The comparison; undefined on a rank that rank 0 leads. */
async function compareGiven(options: CompareOptions, { output }: CommandContext): Promise<Comparison | undefined> {
  if (options.measure && options.cluster !== undefined && launcherOf(options) === "local") {
    throw new InputError(
      `invalid cluster: ${options.cluster} (times are measured on this machine; use --ranks and --ranks-per-node)`,
    );
  }
  if (options.repeats !== undefined && !options.measure) {
    throw new InputError(`invalid repeats: ${options.repeats} (only --measure repeats)`);
  }
  if (options.hardware !== undefined && !options.predict) {
    throw new InputError(`invalid hardware: ${options.hardware} (only --predict simulates)`);
  }
  for (const [name, value] of Object.entries(threadsOf(options))) {
    if (!options.measure) throw new InputError(`invalid ${name}: ${value} (only --measure runs anything)`);
  }
  const passes = passesOf(options, ["forward"]);
  if (passes.length > 1) throw new InputError("invalid pass: both (a comparison is of one pass: forward or backward)");
  const named = options.strategy === undefined ? undefined : givenStrategy(options.strategy, options);
  if (named === undefined && options.degrees !== undefined) {
    throw new InputError(`invalid degrees: ${options.degrees} (name their --strategy)`);
  }
  if (named === undefined && (options.option ?? []).length > 0) {
    throw new InputError(`invalid option: ${options.option?.[0]} (name its --strategy)`);
  }
  const problem = problemOf(options, batchOf(options), passes[0]);
  // Counting takes a moment; only measuring needs patience.
  const progress = options.measure ? await startProgress(output) : undefined;
  try {
    return await interruptible(
      () => (follows(options) ? "" : "interrupted: nothing is kept of a comparison; start it again"),
      onRanks(options, (signal, job) =>
        compareStrategies(problem, {
          strategies: named === undefined ? strategies : [named.strategy],
          degrees: options.degrees === undefined ? undefined : parseDegrees(options.degrees),
          options: named?.options ?? parseStrategyOptions(options.option ?? []),
          faithful: options.faithful,
          all: options.all,
          memoryCapBytes: memoryCapOf(options.memoryCap),
          predict: options.predict,
          ...(options.hardware !== undefined && { hardware: readHardware(options.hardware) }),
          repeats: options.measure ? wholeNumber("repeats", options.repeats ?? "5") : undefined,
          threads: threadsOf(options),
          run: job?.run,
          seed: seedOf(options),
          signal,
          onProgress: progress?.update,
        }),
      ),
    );
  } finally {
    progress?.stop();
  }
}

async function drawInto(file: string, comparison: Comparison, { output }: CommandContext): Promise<void> {
  const { drawComparison, pngOf } = await import("@hsap/figures");
  const svg = drawComparison(comparison);
  try {
    writeFileSync(file, file.endsWith(".png") ? pngOf(svg) : svg);
  } catch (error) {
    throw new InputError(`unwritable file: ${file} (${(error as Error).message})`);
  }
  output.err(`drew ${file}\n`);
}

function firstFault({ strategies: rows }: ComparedReport): string {
  const faulty = rows.find(({ verdict }) => verdict !== "ok");
  return faulty === undefined
    ? "every one is left out"
    : `${faulty.variant}: ${faulty.verdict.replace(/^WRONG: /, "")}`;
}
