export * from "./labels.ts";
export * from "./model-step.ts";
export * from "./parameters.ts";
export * from "./reference-step.ts";
