import {
  drawLength,
  type LengthLaw,
  lengthLaws,
  lengthsOf,
  type PackedBatch,
  packedBatch,
  seededRandom,
  shuffled,
} from "@hsap/workload";

/** The pretraining law as the published evaluation drew from it: every document has the middle length of its bin. */
const midpoints: LengthLaw = { ...lengthLaws.pretraining, within: "midpoint" };

/**
 * `count` packs that stand for the 20 over which the published evaluation took the mean. Which it drew is not known, and the
 * area of a pack varies by a factor of four, so these are taken from many packs of the same law: ordered by area, those in the
 * middle of each of `count` equal shares.
 */
export function typicalPacks(tokens: number, count: number, seed: number): PackedBatch[] {
  const area = (batch: PackedBatch) => lengthsOf(batch).reduce((sum, length) => sum + length ** 2, 0);
  const drawn = publishedPacks(tokens, drawnPacks, seed)
    .map((batch) => ({ batch, area: area(batch) }))
    .sort((a, b) => a.area - b.area);
  return Array.from({ length: count }, (_, i) => drawn[Math.floor(((i + 0.5) * drawnPacks) / count)].batch);
}

const drawnPacks = 400;

/**
 * Packs of `tokens` tokens as the published evaluation made them: documents are cut in pieces of a quarter of the pack, all
 * pieces of many documents are shuffled, and packs are filled with one piece after another; a piece that does not fit goes on
 * in the next pack.
 */
export function publishedPacks(tokens: number, count: number, seed: number): PackedBatch[] {
  const random = seededRandom(seed);
  const quarter = tokens / 4;
  const pieces: number[] = [];
  // As many documents as fill the packs several times over, so that long ones come in their share.
  for (let total = 0; total < 8 * count * tokens; ) {
    const length = drawLength(midpoints, random);
    for (let left = length; left > 0; left -= quarter) pieces.push(Math.min(left, quarter));
    total += length;
  }
  const order = shuffled(pieces, random);
  let next = 0;
  let rest = 0;
  return Array.from({ length: count }, () => {
    const lengths: number[] = [];
    for (let left = tokens; left > 0; ) {
      const piece = rest > 0 ? rest : order[next++];
      const taken = Math.min(piece, left);
      lengths.push(taken);
      rest = piece - taken;
      left -= taken;
    }
    return packedBatch(lengths);
  });
}
