export type { RankBreakdown } from "./breakdown.ts";
export { type ChromeEvent, type ChromeTrace, chromeTrace } from "./chrome-trace.ts";
export type { Floors } from "./floors.ts";
export * from "./hardware.ts";
export { type KernelCall, kernelTflops, paidPairs } from "./kernel-time.ts";
export { laneWaitsOf } from "./lane-waits.ts";
export { matrixFlops } from "./matrix-time.ts";
export { type ProcessDevice, processOpUs } from "./processes.ts";
export { type PublishedRow, publishedRows } from "./published-rows.ts";
export {
  type PreparedSchedule,
  prepareSchedule,
  type Simulation,
  type SimulationOptions,
  simulate,
  simulatePrepared,
} from "./simulate.ts";
export { groupTermsOf, type OpTermKind, opTerms, termKindOf, termsOfOp } from "./threads/op-terms.ts";
export { simulateThreads, threadKernel } from "./threads/simulate-threads.ts";
export type { OpTermTimes, ThreadMachine } from "./threads/thread-machine.ts";
export { type RegisterTile, tileTerms } from "./threads/tile-terms.ts";
