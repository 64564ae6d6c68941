export { drawComparison } from "./comparison/figure.ts";
export { type CompilationInput, drawCompilation } from "./compilation/figure.ts";
export { type CompileTimesInput, drawCompileTimes } from "./compile-times/figure.ts";
export * from "./draw-figures.ts";
export { pngOf } from "./drawing/png.ts";
export { drawEvaluation, type EvaluationInput } from "./evaluation/figure.ts";
export type { Figure } from "./figure.ts";
export { drawLongestSteps, type LongestStepsInput, type LongestStepsRow } from "./longest-steps/figure.ts";
export { drawLongestTrials, type LongestTrialsInput } from "./longest-steps/trials-figure.ts";
export { drawModelLengths, type ModelLengthsInput } from "./model-lengths/figure.ts";
export {
  type DrawnStep,
  drawModelSteps,
  type ModelStepsInput,
  type ModelStepsRow,
  type PublishedRate,
} from "./model-steps/figure.ts";
export { drawModelSweep, type ModelSweepInput } from "./model-sweep/figure.ts";
export { drawPacking, type PackingInput } from "./packing.ts";
export { drawPipeline, type PipelineInput } from "./pipeline/figure.ts";
export { drawSteps, type StepsInput } from "./steps/figure.ts";
export { drawTopology, type TopologyInput } from "./topology/figure.ts";
export type { Degree } from "./topology/mechanisms.ts";
export { drawTrainingLosses, type TrainingLossesInput } from "./training-losses/figure.ts";
