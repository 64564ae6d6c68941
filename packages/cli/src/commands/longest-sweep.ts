import { resolve } from "node:path";
import {
  type LongestSweep,
  type LongestSweepResult,
  type LongestTrial,
  readLongestSweep,
  runLongestSweep,
  withMemory,
  workspacePath,
} from "@hsap/bench";
import { namedCluster } from "@hsap/cluster";
import { drawBeside } from "../draw-beside.ts";
import { formatLongest, type LongestRow } from "../longest-table.ts";
import { wholeNumber } from "../option-values.ts";
import type { CommandContext, ExperimentOptions } from "../program.ts";
import { resumeShown } from "../resume-shown.ts";
import { refuseOtherOptions } from "../taken-options.ts";

/** `hsap experiment longest`: looks for the longest steps that are missing, shows all of them, and draws their figure. */
export async function longestSweep(name: string, options: ExperimentOptions, context: CommandContext): Promise<void> {
  const { output, version } = context;
  const chosen = withGivenOptions(readLongestSweep(name, options.profile), options);
  const folder = resolve(options.results ?? workspacePath(`results/${name}`));
  const result = await resumeShown({ folder, what: "steps" }, context, (shown) => runLongestSweep(chosen, shown));
  if (options.json) output.out(`${JSON.stringify(described(result), null, 2)}\n`);
  else output.out(tableOf(result, version));
  if (options.figures) await drawBeside(folder, context);
}

/** The options that this sweep takes instead of its own values, and those that are about the run. */
const taken = ["cluster", "ranks", "strategy", "profile", "results", "figures", "json", "list"];

function withGivenOptions(experiment: LongestSweep, options: ExperimentOptions): LongestSweep {
  const why = `${experiment.name} looks for the longest steps, and takes cluster, ranks, strategy`;
  refuseOtherOptions(options, taken, why);
  const { cluster, ranks, strategy } = options;
  return {
    ...experiment,
    sweep: {
      ...experiment.sweep,
      ...(cluster !== undefined && { clusters: [withMemory(namedCluster(cluster))] }),
      ...(ranks !== undefined && { ranks: [wholeNumber("ranks", ranks)] }),
      ...(strategy !== undefined && { strategies: [strategy] }),
    },
  };
}

function described({ experiment, environment, trials, predictedNow }: LongestSweepResult): object {
  const { name, title, claim, baseline, profile, sweep } = experiment;
  return {
    ...{ experiment: name, title, claim, baseline, profile, origin: "counted" },
    sweep: { ...sweep, clusters: sweep.clusters.map((cluster) => cluster.name) },
    ...{ environment, trials: trials.length, predictedNow },
    steps: trials.map(rowOf),
  };
}

function tableOf({ experiment, environment, trials, predictedNow }: LongestSweepResult, version: string): string {
  const { title, profile, sweep } = experiment;
  const header = [
    `hsap ${version}, node ${environment.node}, code ${environment.code}`,
    `arguments: ${environment.arguments.join(" ") || "none"}`,
    `${title}: profile ${profile}, origin counted: memory of the rank that needs most, from the schedules; next: one step further`,
    `a step is one sequence, of a multiple of ${sweep.grainOfRank} tokens a rank; ${sweep.dtype}; degrees: ${sweep.degrees}`,
  ];
  return [
    ...header.map((line) => `# ${line}\n`),
    formatLongest(trials.map(rowOf)),
    `# ${trials.length} steps, ${predictedNow} of them predicted now\n`,
  ].join("");
}

function rowOf({ cluster, device, model, ranks, grainOfRank, outcome, ...trial }: LongestTrial): LongestRow {
  const { strategy, weights, recompute } = trial;
  const row = {
    ...{ cluster: cluster.split(" ")[0], device: device.name, memoryGiB: device.memoryGiB, model, ranks },
    ...{ strategy, weights, recompute, grain: grainOfRank * ranks },
  };
  if (outcome.kind === "refused") return { ...row, refusal: outcome.reason };
  const { degrees, next } = outcome;
  const found = outcome.kind === "fits" ? { tokens: outcome.tokens, memory: outcome.memory } : { tokens: 0 };
  return { ...row, degrees, ...found, next };
}
