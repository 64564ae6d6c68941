import { existsSync } from "node:fs";
import { join } from "node:path";
import { workspacePath } from "@hsap/bench";
import { drawFigures } from "@hsap/figures";
import { figureInputs } from "../figure-inputs.ts";
import { wholeNumber } from "../option-values.ts";
import type { CommandContext, FiguresOptions } from "../program.ts";

/** `hsap figures`: the paper's figures as SVG and PNG, from results that are there. */
export async function figures(options: FiguresOptions, { output }: CommandContext): Promise<void> {
  const files = drawInto(options.results ?? trialsFolder(), options);
  output.out(options.json ? `${JSON.stringify({ files }, null, 2)}\n` : `${files.join("\n")}\n`);
}

/** Draws into `out`, or into the folder `figures` beside the trials; returns the files. */
export function drawInto(folder: string, { out, cluster, ranks }: FiguresOptions = {}): string[] {
  const inputs = figureInputs({
    folder,
    cluster: cluster ?? "h100-400g",
    ranks: ranks === undefined ? 16 : wholeNumber("ranks", ranks),
  });
  return drawFigures({ inputs, outDir: out ?? join(folder, "figures"), formats: ["svg", "png"] });
}

/** The newest trials of this machine, or the reference results that come with the project. */
function trialsFolder(): string {
  const own = workspacePath("results/evaluation");
  return existsSync(join(own, "trials.jsonl")) ? own : workspacePath("results/reference/evaluation");
}
