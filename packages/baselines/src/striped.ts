import { type Layout, layoutOf, type Problem, ranksOf, ScheduleBuilder, type Strategy } from "@hsap/schedule";
import { InputError, tokensOf } from "@hsap/workload";
import { checkedDegrees } from "./degrees.ts";
import { ringOperands } from "./operand-estimate.ts";
import { fp32Gradients, gradientTensors, ignoreBorders, tiledProblem } from "./published-behaviour.ts";
import { attendRound, wholeRing } from "./ring.ts";

/**
 * Striped attention: Brandon et al., "Striped Attention: Faster Ring Attention for Causal Transformers", arXiv 2311.09431:
 * the ring of `ring.ts` over a sharding that balances the causal mask.
 *
 * Sharding: stripe i of the pack is on rank i mod P. The published stripe is one token, `stripe=1`. The schedule names data by
 * contiguous ranges, so a stripe of one token makes one tile for each pair of tokens, and each row of o would be merged in
 * fp32 as often as it has keys; by default a stripe is long enough for 4 stripes on each rank.
 * Volume: forward (P-1)/P * KV; backward 2(P-1)/P * KV, as ring.
 * Memory: as ring.
 * Balance: with n tokens a rank in stripes of one token, rank r of one causal document computes n(nP - P + 2r + 2) / 2 pairs,
 * so the last rank has (nP + P) / (nP + 1) of the mean.
 * Constraints: none. The published system is for one sequence: `ignoreBorders=true`.
 */
export const striped: Strategy = {
  name: "striped",
  summary: "Ring attention over stripes, stripe i on rank i mod P.",
  citation: "Brandon et al., Striped Attention, arXiv 2311.09431",
  degreeNames: ["ring"],
  defaultDegrees: (problem) => ({ ring: ranksOf(problem) }),
  candidateDegrees: (problem) => [{ ring: ranksOf(problem) }],
  options: {
    stripe: { summary: "tokens of a stripe, 1 as published; 0: 4 stripes for each rank", default: 0, published: 1 },
    ignoreBorders,
    fp32Gradients,
  },

  estimatedOperands(problem, options = {}) {
    const stripe = Number(options.stripe) || defaultStripe(problem, ranksOf(problem));
    // A document that begins anywhere in a stripe is in so many pieces on average.
    const tiled = tiledProblem(problem, options);
    return ringOperands(tiled, (length) => 1 + (length - 1) / stripe, tokensOf(problem.batch) / stripe);
  },

  compile(problem, degrees, options = {}) {
    const { stripe = 0 } = options;
    const checked = checkedDegrees(striped, problem, degrees);
    if (typeof stripe !== "number" || !Number.isInteger(stripe) || stripe < 0) {
      throw new InputError(`invalid stripe: ${stripe} (must be a whole number of tokens, or 0)`);
    }
    const shards = stripedShards(problem, checked.ring, stripe || defaultStripe(problem, checked.ring));
    const builder = new ScheduleBuilder(
      tiledProblem(problem, options),
      "striped",
      checked,
      shards,
      gradientTensors(problem, options),
    );
    attendRound(builder, wholeRing(problem, shards));
    return { ...builder.finish(), problem };
  },
};

const defaultStripe = ({ batch }: Problem, ranks: number): number => Math.ceil(tokensOf(batch) / (4 * ranks));

function stripedShards({ batch }: Problem, ranks: number, stripe: number): Layout {
  const tokens = tokensOf(batch);
  const shards = Array.from({ length: ranks }, (): { begin: number; end: number }[] => []);
  for (let i = 0; i * stripe < tokens; i++) {
    shards[i % ranks].push({ begin: i * stripe, end: Math.min(tokens, (i + 1) * stripe) });
  }
  return layoutOf(shards);
}
