export type { RankBreakdown } from "./breakdown.ts";
export type { Floors } from "./floors.ts";
export * from "./hardware.ts";
export { kernelTflops, type KernelCall } from "./kernel-time.ts";
export { type PreparedSchedule, prepareSchedule, type Simulation, type SimulationOptions, simulate, simulatePrepared, } from "./simulate.ts";
export { type PublishedRow, publishedRows } from "./published-rows.ts";
