import {
  evenRanges,
  layoutOf,
  type Problem,
  ranksOf,
  ScheduleBuilder,
  type Strategy,
  tileArea,
  tilesBetween,
} from "@hsap/schedule";
import { InputError, lengthsOf, tokensOf } from "@hsap/workload";
import { checkedDegrees } from "./degrees.ts";
import { fp32Gradients, gradientTensors } from "./published-behaviour.ts";
import { attendRound } from "./ring.ts";
import type { Shard } from "./shard.ts";

/**
 * Hybrid (dynamic) context parallelism of Megatron-LM (`--hybrid-context-parallel`, `--max-seqlen-per-dp-cp-rank`): every document
 * gets as many ranks as its length needs, and documents of different widths run side by side.
 *
 * Sharding: a document of L tokens gets cp = 2^ceil(log2(L / maxTokensPerRank)) ranks, at least 1: one of the P/cp groups of cp
 * neighbours. Longest documents choose first, each the group whose busiest rank has the least area so far; inside the group it
 * is cut in 2cp chunks as zigzag.
 * Forward and backward: the ring of `ring.ts` for each document, one after the other.
 * Volume: the sum over documents of that of zigzag with P = cp: a rank receives (cp-1)/cp of a document's keys and values in
 * the forward pass, twice that in the backward pass, for each document that it has a part of.
 * Memory: a rank may own more than maxTokensPerRank tokens, as it may have parts of several documents; two pieces of keys
 * and values of one document at a time.
 * Balance: area as even as the greedy choice makes it; tokens are not evened out.
 * Constraints: P is a power of two, and so is every group.
 */
export const hybridCp: Strategy = {
  name: "hybrid-cp",
  summary: "A power-of-two group of ranks for each document, by its length, with zigzag ring attention inside.",
  citation: "Megatron-LM hybrid context parallelism",
  degreeNames: ["ring"],
  defaultDegrees: (problem) => ({ ring: ranksOf(problem) }),
  candidateDegrees: (problem) => (isPowerOfTwo(ranksOf(problem)) ? [{ ring: ranksOf(problem) }] : []),
  options: {
    maxTokensPerRank: { summary: "tokens of one document that a rank may have; 0: the pack's tokens / P", default: 0 },
    fp32Gradients,
  },

  compile(problem, degrees, options = {}) {
    const { maxTokensPerRank = 0 } = options;
    const checked = checkedDegrees(hybridCp, problem, degrees);
    if (typeof maxTokensPerRank !== "number" || !Number.isInteger(maxTokensPerRank) || maxTokensPerRank < 0) {
      throw new InputError(`invalid maxTokensPerRank: ${maxTokensPerRank} (must be a whole number of tokens, or 0)`);
    }
    if (!isPowerOfTwo(checked.ring)) {
      throw new InputError(
        `invalid ranks: ${checked.ring} (hybrid-cp has groups of powers of two, and so must the ranks be)`,
      );
    }
    const limit = maxTokensPerRank || Math.ceil(tokensOf(problem.batch) / checked.ring);
    const placed = placeDocuments(problem, checked.ring, limit);
    const owned = Array.from({ length: checked.ring }, (_, rank) =>
      placed.flatMap(({ ranks, shards }) => (ranks.includes(rank) ? shards[ranks.indexOf(rank)] : [])),
    );
    const builder = new ScheduleBuilder(
      problem,
      "hybrid-cp",
      checked,
      layoutOf(owned),
      gradientTensors(problem, options),
    );
    for (const { ranks, shards } of placed) attendRound(builder, { ranks, shards, heads: [0, problem.shape.heads] });
    return builder.finish();
  },
};

interface PlacedDocument {
  readonly ranks: readonly number[];
  readonly shards: readonly Shard[];
}

/** The group of each document, longest first. */
function placeDocuments(problem: Problem, worldSize: number, limit: number): PlacedDocument[] {
  const { batch, mask } = problem;
  const lengths = lengthsOf(batch);
  const longestFirst = Array.from(lengths.keys()).sort((a, b) => lengths[b] - lengths[a] || a - b);
  const areas = new Float64Array(worldSize);
  return longestFirst.map((document) => {
    const size = groupSizeFor(lengths[document], limit, worldSize);
    const ranks = leastBusyGroup(areas, size);
    const shards = zigzagOfDocument(batch.cuSeqlens[document], lengths[document], size);
    const whole = { begin: batch.cuSeqlens[document], end: batch.cuSeqlens[document + 1] };
    shards.forEach((shard, place) => {
      for (const range of shard) {
        for (const tile of tilesBetween(batch, mask, range, whole)) areas[ranks[place]] += tileArea(tile);
      }
    });
    return { ranks, shards };
  });
}

/** 2^ceil(log2(length / limit)), at least 1 rank. */
function groupSizeFor(length: number, limit: number, worldSize: number): number {
  const size = 2 ** Math.max(0, Math.ceil(Math.log2(length / limit)));
  if (size > worldSize) {
    throw new InputError(
      `invalid maxTokensPerRank: ${limit} (a document of ${length} tokens would need ${size} of ${worldSize} ranks)`,
    );
  }
  return size;
}

function leastBusyGroup(areas: Float64Array, size: number): number[] {
  let best = 0;
  let least = Number.POSITIVE_INFINITY;
  for (let first = 0; first < areas.length; first += size) {
    const busiest = Math.max(...areas.subarray(first, first + size));
    if (busiest < least) [best, least] = [first, busiest];
  }
  return Array.from({ length: size }, (_, i) => best + i);
}

function zigzagOfDocument(first: number, length: number, ranks: number): readonly Shard[] {
  const chunks = evenRanges(length, 2 * ranks).map(({ begin, end }) => ({ begin: first + begin, end: first + end }));
  return layoutOf(Array.from({ length: ranks }, (_, rank) => [chunks[rank], chunks[2 * ranks - 1 - rank]]));
}

const isPowerOfTwo = (count: number): boolean => Number.isInteger(Math.log2(count));
