export { compileRank, planOf } from "./compile.ts";
export { predictPlan } from "./cost/predict.ts";
export type { Prediction } from "./cost/walk.ts";
export { type Choice, type Considered, choosePlan } from "./degrees.ts";
export {
  type Amount,
  type ConsideredWay,
  type Cuts,
  cutsOf,
  type Explanation,
  explain,
  explanationLines,
  type Tiles,
} from "./explain.ts";
export * from "./hsap.ts";
export { AheadCompiler, type AheadCompilerOptions } from "./just-in-time/ahead-compiler.ts";
export { type CompileRequest, ScheduleCache, type ScheduleCacheOptions } from "./just-in-time/schedule-cache.ts";
export { warmUp } from "./just-in-time/warm-up.ts";
export { compileUnderCap } from "./memory-cap.ts";
export type { Part, Plan } from "./plan.ts";
