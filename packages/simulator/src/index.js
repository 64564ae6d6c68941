export * from "./hardware.js";
export { kernelTflops } from "./kernel-time.js";
export { prepareSchedule, simulate, simulatePrepared, } from "./simulate.js";
export { publishedRows } from "./published-rows.js";
//# sourceMappingURL=index.js.map