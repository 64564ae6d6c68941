import { resolve } from "node:path";
import {
  type Experiment,
  type ExperimentResult,
  type ExperimentVariant,
  experimentKind,
  experimentNames,
  type GivenPack,
  JobFailed,
  type LedJob,
  misplacement,
  readExperiment,
  readLongestSweep,
  readLossExperiment,
  readModelSweep,
  runExperiment,
  strategyNamed,
  summarise,
  workspacePath,
} from "@hsap/bench";
import { namedCluster } from "@hsap/cluster";
import { checkProblem, publishedOptions } from "@hsap/schedule";
import { InputError } from "@hsap/workload";
import { drawBeside } from "../draw-beside.ts";
import { exitCodes } from "../exit-codes.ts";
import { batchOf, passesOf, problemOf, seedOf, sourceOf } from "../given-problem.ts";
import { givenStrategy } from "../given-strategy.ts";
import { checkLaunchOptions, follows, launcherOf, launchRanks, onRanks, ranksOfNodes } from "../launch-options.ts";
import { parseDegrees, wholeNumber } from "../option-values.ts";
import type { CommandContext, ExperimentOptions } from "../program.ts";
import { resumeShown } from "../resume-shown.ts";
import { shownPath } from "../shown-path.ts";
import { formatStepReport, stepReport, stepReportData } from "../steps-table.ts";
import { formatSummary } from "../summary-table.ts";
import { threadsOf } from "../thread-options.ts";

/** `hsap experiment`: measures what is missing, summarises all of it, and draws the figures. */
export async function experiment(name: string, options: ExperimentOptions, context: CommandContext): Promise<void> {
  const { output, finish } = context;
  if (options.list) {
    output.out(listing());
    return;
  }
  const kind = experimentKind(name);
  if (kind === "simulated model steps") return (await import("./model-sweep.ts")).modelSweep(name, options, context);
  if (kind === "longest model steps") return (await import("./longest-sweep.ts")).longestSweep(name, options, context);
  if (kind === "training losses") return (await import("./training-losses.ts")).trainingLosses(name, options, context);
  const chosen = withGivenOptions(readExperiment(name, options.profile), options);
  const folder = resolve(options.results ?? workspacePath(`results/${name}`));
  const launcher = launcherOf(options);
  if (launcher === "mpirun" || launcher === "srun") {
    const { ranks, ranksPerNode } = chosen.sweep;
    const own = ["--ranks", `${ranks}`, "--ranks-per-node", `${ranksPerNode}`, "--results", folder];
    return launchRanks(options, ranks, own, context).catch((error: Error) => {
      // A first rank that was cut off or killed could not say how many.
      if (!(error instanceof JobFailed) || !/^rank \d/.test(error.message) || error.message.includes(" kept in "))
        throw error;
      throw new JobFailed(
        `${error.message}; finished trials are kept in ${shownPath(folder)}; the same command goes on from there`,
      );
    });
  }
  const result = await measure(chosen, folder, options, context);
  if (result === undefined) return;
  const rows = summarise(result.trials, chosen.baseline);
  const steps = stepReport(result, { folder, cluster: options.cluster, pack: packOf(options) });
  const ofSteps = steps === undefined ? {} : { steps: stepReportData(steps) };
  if (options.json) output.out(`${JSON.stringify({ ...described(result), summary: rows, ...ofSteps }, null, 2)}\n`);
  else
    output.out(`${formatSummary(result, rows, context.version)}${steps === undefined ? "" : formatStepReport(steps)}`);
  if (options.figures) await drawBeside(folder, context);
  const wrong = rows.reduce((sum, row) => sum + row.wrong, 0);
  if (wrong > 0) {
    output.err(`hsap: ${wrong} of ${result.trials.length} trials are wrong\n`);
    finish(exitCodes.failed);
  }
}

function measure(
  chosen: Experiment,
  folder: string,
  options: ExperimentOptions,
  context: CommandContext,
): Promise<ExperimentResult | undefined> {
  const threads = threadsOf(options);
  return resumeShown({ folder, what: "trials", isQuiet: follows(options) }, context, (shown, kept) => {
    const measureOn = async (job?: LedJob) => {
      const odd = job && misplacement(job.job, chosen.sweep.ranksPerNode);
      if (odd !== undefined) shown.onNote(`note: ${odd}`);
      const running = runExperiment(chosen, {
        ...{ ...shown, pack: packOf(options), job },
        ...(Object.keys(threads).length > 0 && { threads }),
      });
      return running.catch((error: Error) => {
        const ofTrials = kept();
        if (shown.signal.aborted || error instanceof InputError || ofTrials === undefined) throw error;
        throw new Error(`${error.message.split("\n")[0]}; ${ofTrials}`, { cause: error });
      });
    };
    return onRanks(options, (_, job) => measureOn(job))(shown.signal);
  });
}

/** The experiment with what the command line says instead of its own values. */
function withGivenOptions(experiment: Experiment, options: ExperimentOptions): Experiment {
  const local = launcherOf(options) === "local";
  if (options.cluster !== undefined && local) {
    throw new InputError(
      `invalid cluster: ${options.cluster} (trials are measured on this machine; use --ranks and --ranks-per-node)`,
    );
  }
  checkLaunchOptions(options);
  const { sweep } = experiment;
  const from = options.cluster === undefined ? undefined : namedCluster(options.cluster);
  const count = (name: string, text: string | undefined, otherwise: number) =>
    text === undefined ? otherwise : wholeNumber(name, text);
  const ranksPerNode = count("ranks-per-node", options.ranksPerNode, sweep.ranksPerNode);
  const changed = {
    ...sweep,
    tokens: count("tokens", options.tokens, sweep.tokens),
    seeds: options.seed === undefined ? sweep.seeds : [seedOf(options)],
    passes: [...passesOf(options, sweep.passes)],
    ranks: ranksOfNodes(options, ranksPerNode) ?? count("ranks", options.ranks, sweep.ranks),
    ranksPerNode,
    repeats: count("repeats", options.repeats, sweep.repeats),
    strategies: variantsOf(sweep.strategies, options),
  };
  const text = (value: number | undefined) => (value === undefined ? undefined : `${value}`);
  // Shape, mask and dtype go through the same checks as in every other command.
  const asked = {
    heads: options.heads ?? text(sweep.heads),
    kvHeads: options.kvHeads ?? text(sweep.kvHeads),
    headDim: options.headDim ?? text(sweep.headDim),
    dtype: options.dtype ?? sweep.dtype,
    mask: options.mask ?? sweep.mask,
    docs: "1",
    ranks: text(changed.ranks),
    ranksPerNode: text(changed.ranksPerNode),
  } as const;
  const { shape, mask } = checkProblem(problemOf(asked as ExperimentOptions, batchOf({ docs: "1" }), "forward"));
  return { ...experiment, ...(from && { cluster: from }), sweep: { ...changed, ...shape, mask } };
}

function variantsOf(variants: readonly ExperimentVariant[], given: ExperimentOptions): ExperimentVariant[] {
  const { strategy, degrees, option = [], faithful } = given;
  if (strategy === undefined) {
    if (degrees !== undefined) throw new InputError(`invalid degrees: ${degrees} (name their --strategy)`);
    return variants.map((variant) => (faithful ? asPublished(variant) : variant));
  }
  const named = givenStrategy(strategy, given);
  const own = variants.filter((variant) => variant.strategy === strategy);
  if (degrees === undefined && option.length === 0 && !faithful && own.length > 0) return own;
  const settled = degrees === undefined ? {} : { degrees: parseDegrees(degrees) };
  return [{ strategy, ...settled, options: { ...named.options } }];
}

const asPublished = (variant: ExperimentVariant): ExperimentVariant => ({
  ...variant,
  options: { ...publishedOptions(strategyNamed(variant.strategy)), ...variant.options },
});

function packOf(options: ExperimentOptions): GivenPack | undefined {
  return sourceOf(options) === undefined ? undefined : batchOf(options);
}

function described({ experiment, environment, trials, refused, measuredNow }: ExperimentResult): object {
  const { name, title, claim, baseline, profile, sweep } = experiment;
  return {
    experiment: name,
    title,
    claim,
    baseline,
    profile,
    sweep,
    environment,
    trials: trials.length,
    measuredNow,
    refused,
  };
}

const readers = {
  "measured trials": readExperiment,
  "simulated model steps": readModelSweep,
  "longest model steps": readLongestSweep,
  "training losses": readLossExperiment,
} as const;

function listing(): string {
  const lines = experimentNames().map((name) => {
    const { title } = readers[experimentKind(name)](name, "short");
    return `${name.padEnd(16)} ${title}`;
  });
  return `${lines.join("\n")}\n`;
}
