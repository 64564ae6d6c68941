export { decodeSchedule, encodeSchedule } from "./schedule-binary.ts";
export { type DecodedTables, decodeTables, encodeTables, type Tables } from "./tables.ts";
