import { boundaryViolations } from "../check-boundaries.mjs";
import { nativeViolations } from "./native-boundaries.mjs";
import { oneOutcome } from "./outcome.mjs";

/** Imports between packages, and includes between parts of the native library. */
export async function boundaries(root) {
  const violations = [...(await boundaryViolations(root)), ...(await nativeViolations(root))];
  for (const line of violations) console.log(line);
  return oneOutcome(violations.length === 0);
}
