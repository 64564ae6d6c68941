import type { Hardware } from "@hsap/simulator";
import { constantIn, type FittedConstant, withConstants } from "./fitted-constants.ts";
import { type PredictedRow, type PreparedRow, predictRow } from "./predicted-rows.ts";

/** How constants change what is predicted, near some values of them. */
export interface Linearised {
  readonly hardware: Hardware;
  readonly constants: readonly FittedConstant[];
  /** Logarithms of the constants' values. */
  readonly at: readonly number[];
  readonly predicted: readonly PredictedRow[];
  /** d ln(prediction of row i) / d ln(constant j). */
  readonly slope: readonly (readonly number[])[];
}

/** Errors of a row that are taken as likely: what the reading of the charts and the choice of packs leave open. */
const rowSpread = 0.05;

/** A row far off pulls no harder than one that is this many likely errors off, so that one oddity does not bend the rest. */
const outlierLimit = 2.5;

/** Predicts all rows, and again with each constant a little larger. */
export function linearise(
  rows: readonly PreparedRow[],
  hardware: Hardware,
  constants: readonly FittedConstant[],
): Linearised {
  const at = constants.map((constant) => Math.log(constantIn(hardware, constant)));
  const predicted = rows.map((row) => predictRow(row, hardware));
  const step = 0.05;
  const columns = constants.map((_, j) => {
    const moved = withConstants(
      hardware,
      constants,
      at.map((value, i) => Math.exp(value + (i === j ? step : 0))),
    );
    return rows.map((row, i) => Math.log(predictRow(row, moved).predictedTflops / predicted[i].predictedTflops) / step);
  });
  const slope = rows.map((_, i) => columns.map((column) => column[i]));
  return { hardware, constants, at, predicted, slope };
}

/**
 * The constants' values that make the rows in `used` most likely, given their priors: one step of Gauss-Newton on
 * sum (row error / rowSpread)^2 + sum (ln(value / prior) / spread)^2, with errors as logarithms.
 */
export function fittedValues({ constants, at, predicted, slope }: Linearised, used: (row: PredictedRow) => boolean) {
  const size = constants.length;
  const matrix = Array.from({ length: size }, () => new Array<number>(size).fill(0));
  const right = new Array<number>(size).fill(0);
  constants.forEach(({ prior, spread }, j) => {
    matrix[j][j] += 1 / spread ** 2;
    right[j] += (Math.log(prior) - at[j]) / spread ** 2;
  });
  predicted.forEach((row, i) => {
    if (!used(row)) return;
    const error = Math.log(1 + row.error);
    const weight = Math.min(1, (outlierLimit * rowSpread) / Math.max(1e-9, Math.abs(error))) / rowSpread ** 2;
    for (let j = 0; j < size; j++) {
      right[j] -= weight * slope[i][j] * error;
      for (let k = 0; k < size; k++) matrix[j][k] += weight * slope[i][j] * slope[i][k];
    }
  });
  const step = solve(matrix, right);
  // A step is kept small enough for the slopes still to hold where it ends.
  return at.map((value, j) => Math.exp(value + Math.max(-0.5, Math.min(0.5, step[j]))));
}

/** Solves a symmetric positive definite system by Gaussian elimination. */
function solve(matrix: number[][], right: number[]): number[] {
  const size = right.length;
  const rows = matrix.map((row, i) => [...row, right[i]]);
  for (let pivot = 0; pivot < size; pivot++) {
    for (let row = pivot + 1; row < size; row++) {
      const factor = rows[row][pivot] / rows[pivot][pivot];
      for (let column = pivot; column <= size; column++) rows[row][column] -= factor * rows[pivot][column];
    }
  }
  const solution = new Array<number>(size).fill(0);
  for (let row = size - 1; row >= 0; row--) {
    let sum = rows[row][size];
    for (let column = row + 1; column < size; column++) sum -= rows[row][column] * solution[column];
    solution[row] = sum / rows[row][row];
  }
  return solution;
}
