import { createHash } from "node:crypto";
import { encodeSchedule, type Schedule } from "@hsap/schedule";

/** SHA-256 of a schedule in its binary form, in hex. */
export const digestOf = (schedule: Schedule): string =>
  createHash("sha256").update(encodeSchedule(schedule)).digest("hex");
