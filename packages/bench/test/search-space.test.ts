import { baselines } from "@hsap/baselines";
import { clusterOf, nodesOf, presetCluster } from "@hsap/cluster";
import { hsap } from "@hsap/compiler";
import type { Problem } from "@hsap/schedule";
import { simulate } from "@hsap/simulator";
import fc from "fast-check";
import { describe, expect, it } from "vitest";

/**
 * Those whose ranks own equally many tokens, and how many times as long as them the chosen plan may take. hybrid-cp is none, as it
 * does not even out tokens. An all-gather is a point in what travels and not in how: over nodes, as one collective call, it fills links
 * that pairs of ranks cannot fill.
 */
const atMost = {
  ...{ ring: 1.06, zigzag: 1.06, "zigzag-per-document": 1.06, striped: 1.06, ulysses: 1.06, usp: 1.06 },
  allgather: 1.06,
};

const bounds = Object.entries(atMost).map(([name, times]) => {
  const strategy = baselines.find((baseline) => baseline.name === name);
  if (strategy === undefined) throw new Error(`unknown baseline: ${name}`);
  return { strategy, times };
});

const simulatedUs = (problem: Problem, strategy: typeof hsap, degrees: Parameters<typeof hsap.compile>[1]): number =>
  simulate(strategy.compile(problem, degrees)).trace.durationUs;

/** Some documents that fill what so many ranks hold: one, or lengths that differ by orders of magnitude. */
const lengthsOf = (tokens: number) =>
  fc.array(fc.integer({ min: 0, max: 100 }), { minLength: 0, maxLength: 12 }).map((sizes) => {
    const lengths: number[] = [];
    let left = tokens;
    for (const size of sizes) {
      const length = Math.round(16 * (tokens / 16) ** (size / 100));
      if (length >= left) break;
      lengths.push(length);
      left -= length;
    }
    return [...lengths, left];
  });

const problems = fc
  .record({
    ranks: fc.constantFrom(4, 8, 16),
    ranksPerNode: fc.constantFrom(4, 8),
    tokensOfRank: fc.constantFrom(4096, 8192),
    kvHeads: fc.constantFrom(1, 4, 8, 32, 64),
    pass: fc.constantFrom("forward" as const, "backward" as const),
  })
  .chain((setting) => lengthsOf(setting.ranks * setting.tokensOfRank).map((lengths) => ({ ...setting, lengths })))
  .map(({ ranks, ranksPerNode, kvHeads, pass, lengths }): Problem => {
    const cuSeqlens = new Int32Array(lengths.length + 1);
    for (const [i, length] of lengths.entries()) cuSeqlens[i + 1] = cuSeqlens[i] + length;
    const from = presetCluster("h100-400g");
    return {
      batch: { cuSeqlens },
      shape: { heads: 64, kvHeads, headDim: 128, dtype: "bf16" },
      cluster: clusterOf({ ranks, ranksPerNode: Math.min(ranks, ranksPerNode), from }),
      mask: "causal",
      pass,
    };
  });

describe("baselines as points of the search space", () => {
  it("leave none that is simulated more than 6 % faster than the chosen plan, an all-gather inside a node included", () => {
    fc.assert(
      fc.property(problems, (problem) => {
        const chosenUs = simulatedUs(problem, hsap, hsap.defaultDegrees(problem));
        for (const { strategy, times } of bounds) {
          if (strategy.name === "allgather" && nodesOf(problem.cluster) > 1) continue;
          for (const degrees of strategy.candidateDegrees(problem)) {
            const ratio = chosenUs / simulatedUs(problem, strategy, degrees);
            expect(ratio, `${strategy.name} ${JSON.stringify(degrees)}`).toBeLessThanOrEqual(times);
          }
        }
      }),
      { numRuns: Number(process.env.RUNS ?? 12) },
    );
  });
});
