import { peakBytesOf } from "../lower.ts";
import type { Schedule } from "../schedule.ts";
import type { FindingLog } from "./finding.ts";

/** `memory`: no rank's arena is larger than the cap. */
export function checkMemory(schedule: Schedule, memoryCapBytes: number, log: FindingLog): void {
  peakBytesOf(schedule).forEach((bytes, rank) => {
    if (bytes > memoryCapBytes)
      log.add("memory", { rank }, `needs ${bytes} bytes at its peak (the cap is ${memoryCapBytes})`);
  });
}
