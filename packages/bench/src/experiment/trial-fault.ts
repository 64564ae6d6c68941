import { wrongOutputs } from "../accuracy.ts";
import type { Trial } from "../trial.ts";

/** What went wrong in a trial, or undefined: the schedule breaks a rule, or an output is not what it must be. */
export function faultOfTrial({ verified, error, sameBits, problem }: Trial): string | undefined {
  if (!verified) return "the schedule breaks a rule";
  const [wrong] = wrongOutputs(error, problem.dtype);
  if (wrong !== undefined) return `error of ${wrong} is ${error[wrong]?.toExponential(1)}`;
  return sameBits ? undefined : "the same schedule gave other bits";
}
