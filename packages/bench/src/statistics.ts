import { percentile, seededRandom } from "@hsap/workload";

/** An estimate with the ends of its 95 % interval. */
export interface Interval {
  readonly estimate: number;
  readonly low: number;
  readonly high: number;
  /** How many samples it stands on. */
  readonly samples: number;
}

/**
 * The median; of an even number of values the mean of the middle two.
 *
 * @throws RangeError if there are no values.
 */
export function median(values: ArrayLike<number>): number {
  if (values.length === 0) throw new RangeError("invalid samples: 0 (a median needs at least 1)");
  const sorted = Float64Array.from(values).sort();
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/**
 * The median of the ratios of paired runs, `numerators[i] / denominators[i]`, with the percentile bootstrap's 95 %
 * interval (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13): pairs are drawn again with
 * replacement, and the interval ends at the 2.5th and the 97.5th percentile (nearest rank) of the medians. Runs are paired
 * because what disturbs a machine disturbs neighbouring runs alike. The same seed gives the same interval.
 *
 * @throws RangeError if there are no pairs, or the lists differ in length.
 */
export function pairedRatio(
  numerators: ArrayLike<number>,
  denominators: ArrayLike<number>,
  { seed = 1, resamples = 2000 }: { readonly seed?: number; readonly resamples?: number } = {},
): Interval {
  if (numerators.length !== denominators.length) {
    throw new RangeError(
      `invalid pairs: ${numerators.length} and ${denominators.length} values (needs as many of each)`,
    );
  }
  const ratios = Float64Array.from(numerators, (value, i) => value / denominators[i]);
  const random = seededRandom(seed);
  const draw = new Float64Array(ratios.length);
  const medians = new Float64Array(resamples);
  const estimate = median(ratios);
  for (let i = 0; i < resamples; i++) {
    for (let j = 0; j < draw.length; j++) draw[j] = ratios[Math.floor(random() * ratios.length)];
    medians[i] = median(draw);
  }
  medians.sort();
  return { estimate, low: percentile(medians, 2.5), high: percentile(medians, 97.5), samples: ratios.length };
}
