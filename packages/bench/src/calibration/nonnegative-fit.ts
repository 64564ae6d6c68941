/** One measurement: how many of each term it had, and what they took together. */
export interface Observation {
  readonly terms: readonly number[];
  readonly us: number;
}

/**
 * Times of the terms, none below 0, that leave small relative errors: least squares of (sum_j terms_j * x_j) / us - 1. What takes
 * less than `briefUs` counts less, as clocks and interruptions say more about it than its ops; and a measurement that is far off
 * (more than twice the typical error) pulls no harder than one that is not, so that a disturbed one does not bend the rest. A term
 * that no observation has gets 0.
 */
export function nonnegativeFit(observations: readonly Observation[]): number[] {
  const base = observations.map(({ us }) => us / (us + briefUs));
  let weights = base;
  let times: number[] = [];
  for (let round = 0; round < reweightings; round++) {
    times = leastSquares(observations, weights);
    const errors = fitErrors(observations, times).map(Math.abs);
    const typical = [...errors].sort((a, b) => a - b)[Math.floor(errors.length / 2)];
    // Where most errors are 0 the typical one is no measure: what is left by rounding must not weigh nothing.
    const usual = Math.max(2 * typical, negligible);
    weights = errors.map((error, i) => base[i] * Math.min(1, usual / Math.max(negligible, error)));
  }
  return times;
}

/** Relative errors that a fit leaves: (predicted - measured) / measured. */
export function fitErrors(observations: readonly Observation[], times: readonly number[]): number[] {
  return observations.map(({ terms, us }) => terms.reduce((sum, term, i) => sum + term * times[i], 0) / us - 1);
}

const briefUs = 500;
const negligible = 1e-6;
const reweightings = 4;
const mostRounds = 100_000;
const settled = 1e-8;

/** Coordinate descent on the normal equations, each time cut off at 0. */
function leastSquares(observations: readonly Observation[], weights: readonly number[]): number[] {
  const count = observations[0]?.terms.length ?? 0;
  const rows = observations.map(({ terms, us }) => terms.map((term) => term / us));
  const sum = (of: (row: readonly number[]) => number) =>
    rows.reduce((total, row, i) => total + weights[i] * of(row), 0);
  const matrix = Array.from({ length: count }, (_, i) =>
    Array.from({ length: count }, (_, j) => sum((row) => row[i] * row[j])),
  );
  const right = Array.from({ length: count }, (_, i) => sum((row) => row[i]));
  const times = new Array<number>(count).fill(0);
  for (let round = 0; round < mostRounds; round++) {
    let moved = 0;
    for (let i = 0; i < count; i++) {
      if (matrix[i][i] === 0) continue;
      let left = right[i];
      for (let j = 0; j < count; j++) if (j !== i) left -= matrix[i][j] * times[j];
      const next = Math.max(0, left / matrix[i][i]);
      moved = Math.max(moved, Math.abs(next - times[i]) * Math.sqrt(matrix[i][i]));
      times[i] = next;
    }
    if (moved < settled) break;
  }
  return times;
}
