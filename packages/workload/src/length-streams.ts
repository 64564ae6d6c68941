import { InputError } from "./input-error.ts";
import { drawLength, type LengthLaw } from "./length-laws.ts";
import { type Random, randomIndex, shuffled } from "./seeded-random.ts";

/** Gives the length (tokens) of one document after another, without end. */
export type LengthStream = () => number;

/** Documents that follow a law, independent of each other. */
export function streamOfLaw(law: LengthLaw, random: Random): LengthStream {
  return () => drawLength(law, random);
}

/**
 * The given documents in shuffled order, each once; when all are taken they are shuffled anew, as a training loader
 * starts its next epoch.
 *
 * @throws InputError if there are none.
 */
export function shuffledStream(lengths: ArrayLike<number>, random: Random): LengthStream {
  if (lengths.length === 0) throw new InputError("invalid documents: 0 (a stream needs at least 1 document)");
  let epoch: number[] = [];
  return () => {
    if (epoch.length === 0) epoch = shuffled(lengths, random);
    return epoch.pop() as number;
  };
}

export interface WeightedStream {
  readonly weight: number;
  readonly stream: LengthStream;
}

/**
 * Documents from several streams; each document comes from one of them with probability weight / sum of weights.
 *
 * @throws InputError if a weight is negative or not a number, or all are 0.
 */
export function mixedStream(parts: readonly WeightedStream[], random: Random): LengthStream {
  const weights = parts.map(({ weight }) => weight);
  for (const weight of weights) {
    if (!(weight >= 0 && weight < Infinity)) throw new InputError(`invalid weight: ${weight} (must be at least 0)`);
  }
  if (!weights.some((weight) => weight > 0)) throw new InputError("invalid mix: no part has a weight above 0");
  return () => parts[randomIndex(random, weights)].stream();
}
