import { clusterOf, presetCluster } from "@hsap/cluster";
import { packedBatch, tokensOf } from "@hsap/workload";
import {
  type AttentionShape,
  type Block,
  evenRanges,
  layoutOf,
  type Mask,
  type Pass,
  type Problem,
  type Schedule,
  ScheduleBuilder,
  type Transfer,
  tilesBetween,
} from "../src/index.ts";

// Read once: property tests make thousands of problems.
const local = presetCluster("local");

export interface SmallProblem {
  lengths: readonly number[];
  ranks: number;
  ranksPerNode?: number;
  shape?: Partial<AttentionShape>;
  mask?: Mask;
  pass?: Pass;
}

export function smallProblem({ lengths, ranks, ranksPerNode, shape, mask, pass }: SmallProblem): Problem {
  return {
    batch: packedBatch(lengths),
    shape: { heads: 4, kvHeads: 2, headDim: 8, dtype: "fp32", ...shape },
    cluster: clusterOf({ ranks, ranksPerNode: ranksPerNode ?? ranks, from: local }),
    mask: mask ?? "causal",
    pass: pass ?? "forward",
  };
}

/**
 * Ring attention as the tests' correct schedule: kv goes round, and in the backward pass every rank sends its share of
 * dk and dv to the owner, who adds the shares up.
 */
export function smallRing(problem: Problem): Schedule {
  const ranks = problem.cluster.ranks;
  const owned = evenRanges(tokensOf(problem.batch), ranks);
  const builder = new ScheduleBuilder(problem, "ring", { ring: ranks }, layoutOf(owned.map((range) => [range])));
  const pieces = (names: readonly string[], owner: number, part = 0): Block[] =>
    owned[owner].begin === owned[owner].end
      ? []
      : names.map((name) => builder.block(name, owned[owner], undefined, part));
  const kv = ["k", "v"];
  const gradients = ["dk", "dv"];
  for (let rank = 0; rank < ranks; rank++) {
    const program = builder.rank(rank);
    const at = (step: number) => (rank - step + ranks) % ranks;
    for (let step = 0; step < ranks; step++) {
      const transfers: Transfer[] = [];
      if (step + 1 < ranks) {
        transfers.push({ to: (rank + 1) % ranks, blocks: pieces(kv, at(step)) });
        transfers.push({ from: at(1), blocks: pieces(kv, at(step + 1)) });
      }
      program.exchange("p2p", transfers);
      const kvPart = problem.pass === "backward" && step > 0 ? 1 + rank : 0;
      for (const tile of tilesBetween(problem.batch, problem.mask, owned[rank], owned[at(step)]))
        program.attend(tile, { kvPart });
    }
    if (problem.pass === "backward") returnGradients(rank);
  }
  return builder.finish();

  /** Whether `rank` computed any tile with the kv of `owner`, so that there is a share to send. */
  function needs(rank: number, owner: number): boolean {
    return tilesBetween(problem.batch, problem.mask, owned[rank], owned[owner]).length > 0;
  }

  function returnGradients(rank: number): void {
    const transfers: Transfer[] = [];
    const others = Array.from({ length: ranks }, (_, i) => i).filter((other) => other !== rank);
    // Only rows that a tile touched have a share.
    const share = (computer: number, owner: number): Block[] => {
      if (!needs(computer, owner)) return [];
      return tilesBetween(problem.batch, problem.mask, owned[computer], owned[owner]).flatMap(({ kBegin, kEnd }) =>
        gradients.map((name) => builder.block(name, { begin: kBegin, end: kEnd }, undefined, 1 + computer)),
      );
    };
    for (const other of others) {
      transfers.push({ to: other, blocks: share(rank, other) });
      transfers.push({ from: other, blocks: share(other, rank) });
    }
    const program = builder.rank(rank);
    program.exchange("p2p", transfers);
    for (const other of others) for (const block of share(other, rank)) program.reduce({ ...block, part: 0 }, block);
  }
}
