export { AheadCompiler, type AheadCompilerOptions } from "./ahead-compiler.ts";
export { compileRank, planOf } from "./compile.ts";
export * from "./hsap.ts";
export type { Plan } from "./lower.ts";
export { type CompileRequest, ScheduleCache, type ScheduleCacheOptions } from "./schedule-cache.ts";
export { warmUp } from "./warm-up.ts";
