export * from "./checkpoint.ts";
export * from "./labels.ts";
export * from "./layer-strategies.ts";
export * from "./model-step.ts";
export * from "./parameters.ts";
export * from "./reference-step.ts";
export * from "./synthetic-text.ts";
export * from "./training-run.ts";
