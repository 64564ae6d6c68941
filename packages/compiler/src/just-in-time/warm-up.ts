import { clusterOf, presetCluster } from "@hsap/cluster";
import type { Pass, Problem } from "@hsap/schedule";
import { packedBatch, seededRandom } from "@hsap/workload";
import { compilePrograms } from "../compile.ts";
import { candidateDegrees, chooseDegrees } from "../degrees.ts";

/** How many made-up batches it takes until compiling is about as fast as it gets. */
export const warmUpRounds = 24;

/**
 * Compiles made-up batches, so that the first real one finds code that the engine has optimised: in a fresh process the
 * first batch takes some twenty times as long as later ones. Takes a few tenths of a second.
 */
export function warmUp(): void {
  for (let round = 0; round < warmUpRounds; round++) compileMadeUp(round);
}

/** Compiles one batch of `warmUp`: each round another one, the passes in turn and with every degree. */
export function compileMadeUp(round: number): void {
  const problem = madeUp(round, round % 2 === 0 ? "forward" : "backward");
  chooseDegrees(problem);
  for (const degrees of candidateDegrees(problem)) {
    if (degrees.ulysses === 1 || round % 4 < 2) compilePrograms(problem, degrees, {});
  }
}

/** Eight nodes of eight, and documents from a few tokens to the share of several nodes. */
function madeUp(seed: number, pass: Pass): Problem {
  const random = seededRandom(seed);
  const lengths = Array.from({ length: 150 }, () => Math.ceil(2 ** (4 + 12 * random())));
  return {
    batch: packedBatch([...lengths, 60_000 * (1 + (seed % 3))]),
    shape: { heads: 16, kvHeads: 8, headDim: 128, dtype: "bf16" },
    cluster: clusterOf({ ranks: 64, ranksPerNode: 8, from: presetCluster("h100-400g") }),
    ...{ mask: "causal", pass },
  };
}
