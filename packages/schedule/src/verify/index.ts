import { ranksOf } from "../problem.ts";
import { type Schedule, worldSizeOf } from "../schedule.ts";
import { checkContamination } from "./contamination.ts";
import { checkOutputs } from "./coverage.ts";
import { type Finding, FindingLog } from "./finding.ts";
import { checkMatching, progress } from "./matching.ts";
import { checkMemory } from "./memory.ts";
import { checkOperands } from "./operands.ts";
import { checkLayout } from "./ownership.ts";
import { Replay } from "./replay.ts";

export { type Finding, type Rule, rules } from "./finding.ts";
export { Held, type Rectangle } from "./held.ts";

export interface VerifyOptions {
  /** The most bytes that any rank may hold; no limit where it is left out. */
  readonly memoryCapBytes?: number;
}

/**
 * Checks a schedule against all rules; the findings are empty when it is right. A schedule whose transfers, operands or
 * availability are wrong has no well-defined result, so what depends on it is then not judged: one mistake is reported under one
 * rule. At most 20 findings for each rule.
 */
export function verify(schedule: Schedule, { memoryCapBytes }: VerifyOptions = {}): Finding[] {
  const log = new FindingLog(schedule);
  if (worldSizeOf(schedule) !== ranksOf(schedule.problem)) {
    log.add(
      "matching",
      { rank: 0 },
      `${worldSizeOf(schedule)} programs (the cluster has ${ranksOf(schedule.problem)} ranks)`,
    );
    return log.findings;
  }
  checkLayout(schedule, log);
  checkOperands(schedule, log);
  if (log.has("ownership", "availability")) return log.findings;
  const partner = checkMatching(schedule, log);
  checkContamination(schedule, log);
  if (memoryCapBytes !== undefined) checkMemory(schedule, memoryCapBytes, log);
  if (log.has("matching")) return log.findings;
  const replay = new Replay(schedule, partner, log);
  progress(schedule, partner, replay);
  if (!log.has("availability", "ownership")) checkOutputs(schedule, replay, log);
  return log.findings;
}

/** Returns `schedule` unchanged, or throws an error with the first finding and the number of the others. */
export function verifyOrThrow(schedule: Schedule, options: VerifyOptions = {}): Schedule {
  const [first, ...others] = verify(schedule, options);
  if (first === undefined) return schedule;
  const more = others.length === 0 ? "" : ` (and ${others.length} more)`;
  throw new Error(`wrong schedule of ${schedule.strategy}: ${first.message}${more}`);
}
