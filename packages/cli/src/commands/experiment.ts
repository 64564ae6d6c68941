import { relative } from "node:path";
import {
  type Experiment,
  type ExperimentResult,
  type ExperimentVariant,
  experimentNames,
  type GivenPack,
  readExperiment,
  runExperiment,
  strategyNamed,
  summarise,
  workspacePath,
} from "@hsap/bench";
import { checkProblem, publishedOptions } from "@hsap/schedule";
import { InputError } from "@hsap/workload";
import { exitCodes } from "../exit-codes.ts";
import { batchOf, passesOf, problemOf, seedOf, sourceOf } from "../given-problem.ts";
import { givenStrategy } from "../given-strategy.ts";
import { interruptible } from "../interruption.ts";
import { parseDegrees, wholeNumber } from "../option-values.ts";
import type { CommandContext, ExperimentOptions } from "../program.ts";
import { startProgress } from "../progress.ts";
import { formatSummary } from "../summary-table.ts";

/** `hsap experiment`: measures what is missing, summarises all of it, and draws the figures. */
export async function experiment(name: string, options: ExperimentOptions, context: CommandContext): Promise<void> {
  const { output, finish } = context;
  if (options.list) {
    output.out(listing());
    return;
  }
  const chosen = withGivenOptions(readExperiment(name, options.profile), options);
  const folder = options.results ?? workspacePath(`results/${name}`);
  const result = await measure(chosen, folder, options, context);
  const rows = summarise(result.trials, chosen.baseline);
  if (options.json) output.out(`${JSON.stringify({ ...described(result), summary: rows }, null, 2)}\n`);
  else output.out(formatSummary(result, rows, context.version));
  if (options.figures) {
    const { drawInto } = await import("./figures.ts");
    for (const file of drawInto(folder)) output.err(`drew ${shown(file)}\n`);
  }
  const wrong = rows.reduce((sum, row) => sum + row.wrong, 0);
  if (wrong > 0) {
    output.err(`hsap: ${wrong} of ${result.trials.length} trials are wrong\n`);
    finish(exitCodes.failed);
  }
}

async function measure(
  chosen: Experiment,
  folder: string,
  options: ExperimentOptions,
  { output }: CommandContext,
): Promise<ExperimentResult> {
  const progress = await startProgress(output);
  let [trials, allTrials] = [0, 0];
  try {
    const kept = () =>
      `interrupted: ${trials} of ${allTrials} trials are kept in ${shown(folder)}; the same command goes on from there`;
    return await interruptible(kept, (signal) =>
      runExperiment(chosen, {
        folder,
        arguments: process.argv.slice(2),
        pack: packOf(options),
        signal,
        onNote: (note) => progress.note(note),
        onProgress: (state) => {
          ({ trials, allTrials } = state);
          progress.update(state.done, `${trials}/${allTrials} ${state.label}`);
        },
      }),
    );
  } finally {
    progress.stop();
  }
}

/** The experiment with what the command line says instead of its own values. */
function withGivenOptions(experiment: Experiment, options: ExperimentOptions): Experiment {
  if (options.cluster !== undefined) {
    throw new InputError(
      `invalid cluster: ${options.cluster} (trials are measured on this machine; use --ranks and --ranks-per-node)`,
    );
  }
  const { sweep } = experiment;
  const count = (name: string, text: string | undefined, otherwise: number) =>
    text === undefined ? otherwise : wholeNumber(name, text);
  const changed = {
    ...sweep,
    tokens: count("tokens", options.tokens, sweep.tokens),
    seeds: options.seed === undefined ? sweep.seeds : [seedOf(options)],
    passes: [...passesOf(options, sweep.passes)],
    ranks: count("ranks", options.ranks, sweep.ranks),
    ranksPerNode: count("ranks-per-node", options.ranksPerNode, sweep.ranksPerNode),
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
  return { ...experiment, sweep: { ...changed, ...shape, mask } };
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

function listing(): string {
  const lines = experimentNames().map((name) => {
    const { title } = readExperiment(name, "short");
    return `${name.padEnd(16)} ${title}`;
  });
  return `${lines.join("\n")}\n`;
}

/** A path as a person in this folder would type it. */
function shown(path: string): string {
  const near = relative(process.cwd(), path);
  return near === "" ? "." : near.startsWith("..") ? path : near;
}
