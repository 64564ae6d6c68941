import { type Problem, ranksOf } from "@hsap/schedule";
import { lengthsOf } from "@hsap/workload";

/**
 * About how many operands a ring's schedule has if each document is cut in `piecesOf(length)` pieces: a tile for each pair of
 * pieces that attends, with 5 operands forward and 9 backward, and each piece of k and v sent and received P-1 times (backward
 * with its gradients, which are summed on the way). `sent` is how many pieces travel, where that is not one for each piece
 * of a document.
 */
export function ringOperands(problem: Problem, piecesOf: (length: number) => number, sent?: number): number {
  const { batch, mask, pass } = problem;
  let [tiles, pieces] = [0, 0];
  for (const length of lengthsOf(batch)) {
    const count = piecesOf(length);
    pieces += count;
    tiles += mask === "causal" ? (count * (count + 1)) / 2 : count * count;
  }
  const hops = (sent ?? pieces) * (ranksOf(problem) - 1);
  return pass === "forward" ? 5 * tiles + 4 * hops : 9 * tiles + 14 * hops;
}

/** Pieces of a document that is cut in 2P chunks by itself; a chunk has at least one token. */
export const chunksOfDocument = (problem: Problem) => (length: number) => Math.min(2 * ranksOf(problem), length);
