/**
 * Relative L2 distance: |actual - expected| / |expected|; 0 if both are 0, Infinity if only `expected` is.
 *
 * @throws RangeError if the lengths differ.
 */
export function relativeError(actual: Float32Array, expected: Float64Array | Float32Array): number {
  if (actual.length !== expected.length) {
    throw new RangeError(`invalid length: ${actual.length} (must be ${expected.length}, as expected)`);
  }
  let error = 0;
  let norm = 0;
  for (let i = 0; i < expected.length; i++) {
    error += (actual[i] - expected[i]) ** 2;
    norm += expected[i] ** 2;
  }
  return error === 0 ? 0 : Math.sqrt(error / norm);
}
