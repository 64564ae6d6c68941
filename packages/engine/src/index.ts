export type { Isa, Perturbation } from "./addon.ts";
export { EngineError } from "./engine-error.ts";
export * from "./engine-info.ts";
export * from "./kernel-bench.ts";
export { encodeProgram } from "./program-file.ts";
export * from "./reference.ts";
export * from "./relative-error.ts";
export * from "./run.ts";
