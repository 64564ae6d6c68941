export { type CompilationInput, drawCompilation } from "./compilation/figure.ts";
export * from "./draw-figures.ts";
export { drawEvaluation, type EvaluationInput } from "./evaluation/figure.ts";
export type { Figure } from "./figure.ts";
export { drawPacking, type PackingInput } from "./packing.ts";
export { drawPipeline, type PipelineInput } from "./pipeline/figure.ts";
export { drawTopology, type TopologyInput } from "./topology/figure.ts";
export type { Degree } from "./topology/mechanisms.ts";
