import { clusterOf } from "@hsap/cluster";
import {
  type AttentionShape,
  accountOf,
  kvBytesOf,
  type Layout,
  type Mask,
  type Pass,
  type Problem,
  type Schedule,
} from "@hsap/schedule";
import { packedBatch, tokensOf } from "@hsap/workload";
import fc from "fast-check";

export interface ProblemSketch {
  readonly lengths: readonly number[];
  readonly ranks: number;
  readonly ranksPerNode?: number;
  readonly heads?: number;
  readonly kvHeads?: number;
  readonly headDim?: number;
  readonly dtype?: AttentionShape["dtype"];
  readonly mask?: Mask;
  readonly pass?: Pass;
}

export function problemOf(sketch: ProblemSketch): Problem {
  const { lengths, ranks, ranksPerNode = ranks, heads = 4, kvHeads = 2, headDim = 8, dtype = "bf16" } = sketch;
  return {
    batch: packedBatch(lengths),
    shape: { heads, kvHeads, headDim, dtype },
    cluster: clusterOf({ ranks, ranksPerNode }),
    mask: sketch.mask ?? "causal",
    pass: sketch.pass ?? "forward",
  };
}

export const receivedBytes = (schedule: Schedule): number[] => [...accountOf(schedule).receivedBytes.perRank];

/** Tokens of each rank. */
export const sizesOf = (layout: Layout): number[] =>
  layout.map((ranges) => ranges.reduce((sum, { begin, end }) => sum + end - begin, 0));

/** What each rank of a ring receives: every shard of keys and values but its own, and every gradient but the one it starts. */
export function ringBytes({ layout, problem }: Schedule): number[] {
  const sizes = sizesOf(layout);
  const tokens = tokensOf(problem.batch);
  return sizes.map((own, rank) => {
    const started = sizes[(rank + sizes.length - 1) % sizes.length];
    const gradients = problem.pass === "forward" || sizes.length === 1 ? 0 : tokens - started;
    return (kvBytesOf(problem) / tokens) * (tokens - own + gradients);
  });
}

/** The packs that systems of this kind have failed on, for P ranks: see the names. */
export const conformancePacks: Readonly<Record<string, (ranks: number) => readonly number[]>> = {
  "one token": () => [1],
  "documents of 1, 7, 2P-1 and 2P+1 tokens": (ranks) => [1, 7, Math.max(1, 2 * ranks - 1), 2 * ranks + 1],
  "lengths that divide by nothing": () => [13, 17, 31, 7],
  "documents on one rank only": (ranks) => Array.from({ length: ranks }, () => 5),
  "fewer tokens than ranks": () => [2, 1],
  "one long document among short ones": () => [3, 97, 1, 1, 2],
  "one document": () => [64],
};

/** Any small problem: 1 to 16 ranks, grouped kv heads, packs with documents from 1 token up. */
export const anyProblem = (options: { ranks?: fc.Arbitrary<number> } = {}): fc.Arbitrary<Problem> =>
  fc
    .record({
      lengths: fc.array(fc.oneof(fc.integer({ min: 1, max: 4 }), fc.integer({ min: 1, max: 60 })), {
        minLength: 1,
        maxLength: 8,
      }),
      ranks: options.ranks ?? fc.integer({ min: 1, max: 16 }),
      perNode: fc.integer({ min: 1, max: 8 }),
      kvHeads: fc.integer({ min: 1, max: 4 }),
      group: fc.integer({ min: 1, max: 4 }),
      mask: fc.constantFrom<Mask>("causal", "full"),
      pass: fc.constantFrom<Pass>("forward", "backward"),
      dtype: fc.constantFrom("fp32" as const, "bf16" as const),
    })
    .map(({ perNode, kvHeads, group, ...rest }) =>
      problemOf({ ...rest, kvHeads, heads: kvHeads * group, ranksPerNode: Math.min(perNode, rest.ranks) }),
    );
