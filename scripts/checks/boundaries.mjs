import { boundaryViolations } from "../check-boundaries.mjs";
import { oneOutcome } from "./outcome.mjs";

/** Imports between packages. */
export async function boundaries(root) {
  const violations = await boundaryViolations(root);
  for (const line of violations) console.log(line);
  return oneOutcome(violations.length === 0);
}
