export * from "./end-stages.ts";
export * from "./layer-strategy.ts";
export * from "./model-problem.ts";
export * from "./presets.ts";
export * from "./sequence-parallel.ts";
export * from "./spliced-attention.ts";
export * from "./stage.ts";
export * from "./weight-shards.ts";
