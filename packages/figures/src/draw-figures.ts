import { mkdirSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type CompilationInput, drawCompilation } from "./compilation/figure.ts";
import { pngOf } from "./drawing/png.ts";
import { drawEvaluation, type EvaluationInput } from "./evaluation/figure.ts";
import type { Figure } from "./figure.ts";
import { drawLongestTrials, type LongestTrialsInput } from "./longest-steps/trials-figure.ts";
import { drawModelLengths, type ModelLengthsInput } from "./model-lengths/figure.ts";
import { drawModelSweep, type ModelSweepInput } from "./model-sweep/figure.ts";
import { drawPacking, type PackingInput } from "./packing.ts";
import { drawPipeline, type PipelineInput } from "./pipeline/figure.ts";
import { drawSteps, type StepsInput } from "./steps/figure.ts";
import { drawTopology, type TopologyInput } from "./topology/figure.ts";
import { drawTrainingLosses, type TrainingLossesInput } from "./training-losses/figure.ts";

/** What each figure is drawn from; a figure without input is not drawn. */
export interface FigureInputs {
  readonly packing?: PackingInput | undefined;
  readonly pipeline?: PipelineInput | undefined;
  readonly compilation?: CompilationInput | undefined;
  readonly topology?: TopologyInput | undefined;
  readonly evaluation?: EvaluationInput | undefined;
  readonly modelSweep?: ModelSweepInput | undefined;
  readonly modelLengths?: ModelLengthsInput | undefined;
  readonly longestSteps?: LongestTrialsInput | undefined;
  readonly steps?: StepsInput | undefined;
  readonly trainingLosses?: TrainingLossesInput | undefined;
}

export type FigureFormat = "svg" | "png";

export interface DrawFiguresOptions {
  readonly inputs: FigureInputs;
  /** Made if missing; files of the same names are replaced. */
  readonly outDir: string;
  readonly formats: readonly FigureFormat[];
}

/** Draws the figures that `inputs` has data for, in the paper's order. Pure: equal inputs give equal files. */
export function figuresOf(inputs: FigureInputs): Figure[] {
  const { packing, pipeline, steps, compilation, topology, evaluation, trainingLosses } = inputs;
  const { modelSweep, modelLengths, longestSteps } = inputs;
  return [
    packing && drawPacking(packing),
    pipeline && drawPipeline(pipeline),
    compilation && drawCompilation(compilation),
    topology && drawTopology(topology),
    evaluation && drawEvaluation(evaluation),
    ...(modelSweep ? drawModelSweep(modelSweep) : []),
    steps && drawSteps(steps),
    trainingLosses && drawTrainingLosses(trainingLosses),
    modelLengths && drawModelLengths(modelLengths),
    longestSteps && drawLongestTrials(longestSteps),
  ].filter((figure) => figure !== undefined);
}

/**
 * Writes `figure-N-NAME.svg` and `.png` and, beside them, the numbers that they show as `.csv` or `.json`. Each file
 * appears whole or not at all. Returns the paths written.
 *
 * @throws InputError if an input cannot be drawn; then nothing is written.
 */
export function drawFigures({ inputs, outDir, formats }: DrawFiguresOptions): string[] {
  const files = figuresOf(inputs).flatMap(({ number, name, svg, data }) => {
    const stem = join(outDir, `figure-${number}-${name}`);
    const pictures = formats.map((format) => ({
      path: `${stem}.${format}`,
      content: format === "svg" ? svg : pngOf(svg),
    }));
    return [...pictures, { path: `${stem}.${data.ending}`, content: data.text }];
  });
  mkdirSync(outDir, { recursive: true });
  for (const { path, content } of files) writeWhole(path, content);
  return files.map(({ path }) => path);
}

function writeWhole(path: string, content: string | Uint8Array): void {
  const unfinished = `${path}.${process.pid}.unfinished`;
  writeFileSync(unfinished, content);
  renameSync(unfinished, path);
}
