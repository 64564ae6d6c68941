import { type PackedBatch, type Random, seededRandom, tokensOf } from "@hsap/workload";

/** How many tokens may follow each token. */
const successors = 4;

/**
 * Token ids for every document of a batch from a language that a model can learn: each token is followed by one of four, of which the
 * first is as likely as the others together. The language is the same for every seed; which way a document takes is not. A model that
 * knows it has a loss of 1.24 nats.
 */
export function syntheticText(batch: PackedBatch, vocabulary: number, seed: number): Int32Array {
  const random = seededRandom(seed);
  const ids = new Int32Array(tokensOf(batch));
  for (let document = 1; document < batch.cuSeqlens.length; document++) {
    let token = Math.floor(random() * vocabulary);
    for (let at = batch.cuSeqlens[document - 1]; at < batch.cuSeqlens[document]; at++) {
      ids[at] = token;
      token = successor(token, vocabulary, random);
    }
  }
  return ids;
}

function successor(token: number, vocabulary: number, random: Random): number {
  const choice = random() < 0.5 ? 0 : 1 + Math.floor(random() * (successors - 1));
  // Multiplication by an odd number far from 1 scatters neighbours.
  return (token * 37 + 11 + choice * 101) % vocabulary;
}
