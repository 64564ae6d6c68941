import { existsSync } from "node:fs";
import { join } from "node:path";
import { workspacePath } from "@hsap/bench";
import { drawFigures } from "@hsap/figures";
import { figureInputs } from "../figure-inputs.ts";
import { wholeNumber } from "../option-values.ts";
import type { CommandContext, FiguresOptions } from "../program.ts";

/**
 * `hsap figures`: the paper's figures as SVG and PNG, from results that are there: those of a folder, or the newest of every experiment
 * that has figures.
 */
export async function figures(options: FiguresOptions, { output }: CommandContext): Promise<void> {
  const folders = options.results === undefined ? drawnExperiments.map(newestOf) : [options.results];
  const files = folders.flatMap((folder) => drawInto(folder, options));
  output.out(options.json ? `${JSON.stringify({ files }, null, 2)}\n` : `${files.join("\n")}\n`);
}

const drawnExperiments = ["evaluation", "models", "contamination", "lengths", "longest"];

/** Draws what a results folder holds into `out`, or into the folder `figures` beside the trials; returns the files. */
export function drawInto(folder: string, { out, cluster, ranks }: FiguresOptions = {}): string[] {
  const inputs = figureInputs({
    folder,
    cluster: cluster ?? "h100-400g",
    ranks: ranks === undefined ? 16 : wholeNumber("ranks", ranks),
  });
  return drawFigures({ inputs, outDir: out ?? join(folder, "figures"), formats: ["svg", "png"] });
}

/** The newest results of this machine, or the reference results that come with the project. */
function newestOf(experiment: string): string {
  const own = workspacePath(`results/${experiment}`);
  return existsSync(join(own, "trials.jsonl")) ? own : workspacePath(`results/reference/${experiment}`);
}
