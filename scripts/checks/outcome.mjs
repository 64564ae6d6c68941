/**
 * What one check found.
 *
 * @typedef {object} Outcome
 * @property {number} passed
 * @property {number} failed
 * @property {readonly { name: string, reason: string }[]} [skipped] what was not checked, and why
 */

/** The outcome of a check that is one thing: it holds or it does not. */
export function oneOutcome(holds) {
  return { passed: holds ? 1 : 0, failed: holds ? 0 : 1 };
}

/** The sum of several outcomes. */
export function totalOutcome(outcomes) {
  return {
    passed: outcomes.reduce((sum, { passed }) => sum + passed, 0),
    failed: outcomes.reduce((sum, { failed }) => sum + failed, 0),
    skipped: outcomes.flatMap(({ skipped = [] }) => skipped),
  };
}
