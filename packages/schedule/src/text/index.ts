export { formatOp, formatSchedule } from "./format.ts";
export { parseSchedule } from "./parse.ts";
