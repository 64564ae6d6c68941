import { type Problem, ranksOf, ScheduleBuilder, type Strategy } from "@hsap/schedule";
import { checkedDegrees } from "./degrees.ts";
import { gradientTensors, ignoreBorders, publishedFp32Gradients, tiledProblem } from "./published-behaviour.ts";
import { contiguousShards, type HeadRange, rangesWithKeysOf, type Shard, shardBlocks, shardTiles } from "./shard.ts";

/**
 * Ring attention: Liu, Zaharia, Abbeel, "Ring Attention with Blockwise Transformers for Near-Infinite Context",
 * arXiv 2310.01889.
 *
 * Sharding: rank r owns the r-th contiguous piece of the sequence.
 * Forward: the keys and values of every piece travel once round the ring, one rank a step, whether the next rank needs
 * them or not; each rank attends to what it holds while the next piece arrives.
 * Backward: keys and values travel again. The gradient of a piece starts, empty, at the rank after its owner, gathers each
 * rank's share and comes home with its last hop; the owner adds its own share.
 * Volume: forward (P-1)/P * KV; backward 2(P-1)/P * KV, keys and values and their gradients making P-1 hops each.
 * Memory: two pieces of keys and values, in the backward pass with two of their gradients; independent of P.
 * Balance: on one causal document the last rank has P tiles where the mean is (P+1)/2: 2P/(P+1). Counted in pairs, with n
 * tokens a rank, ((2P-1)n + 1) / (Pn + 1).
 * Constraints: none. The published system is for one sequence (`ignoreBorders=true`), and sums gradients in fp32 as they travel
 * (`fp32Gradients=true`: with bf16 they take twice the bytes).
 */
export const ring: Strategy = {
  name: "ring",
  summary: "Contiguous shards; keys and values of all of them travel round the ring.",
  citation: "Liu et al., Ring Attention with Blockwise Transformers, arXiv 2310.01889",
  degreeNames: ["ring"],
  defaultDegrees: (problem) => ({ ring: ranksOf(problem) }),
  candidateDegrees: (problem) => [{ ring: ranksOf(problem) }],
  options: { ignoreBorders, fp32Gradients: publishedFp32Gradients },

  compile(problem, degrees, options) {
    const checked = checkedDegrees(ring, problem, degrees);
    const shards = contiguousShards(problem, checked.ring);
    const tiled = tiledProblem(problem, options);
    const builder = new ScheduleBuilder(tiled, "ring", checked, shards, gradientTensors(problem, options));
    attendRound(builder, wholeRing(problem, shards));
    return { ...builder.finish(), problem };
  },
};

/** Ranks that pass keys and values on, each to the next: the rank at place i attends with the queries of `shards[i]`. */
export interface Ring {
  readonly ranks: readonly number[];
  readonly shards: readonly Shard[];
  /** The query heads that all of them attend with. */
  readonly heads: HeadRange;
  /** The part in which each place gathers the gradients of its own keys and values: the tensor itself where left out. */
  readonly homeParts?: readonly number[];
}

/** The ring of all ranks, with all heads. */
export const wholeRing = (problem: Problem, shards: readonly Shard[]): Ring => ({
  ranks: shards.map((_, rank) => rank),
  shards,
  heads: [0, problem.shape.heads],
});

/** Adds the ring's pass, forward or backward as the problem says, to the programs of its ranks. */
export function attendRound(builder: ScheduleBuilder, ring: Ring): void {
  const attendFrom = builder.problem.pass === "forward" ? attendForward : attendBackward;
  ring.ranks.forEach((_, place) => {
    attendFrom(builder, ring, place);
  });
}

function attendForward(builder: ScheduleBuilder, { ranks, shards, heads }: Ring, place: number): void {
  const program = builder.rank(ranks[place]);
  const { next, previous, heldAt } = neighbours(ranks, place);
  const kv = (held: number) => shardBlocks(builder, ["k", "v"], shards[held], { heads });
  for (let step = 0; step < ranks.length; step++) {
    // The exchange stands before the tiles of what is already here, so the two overlap.
    if (step + 1 < ranks.length) {
      program.exchange("p2p", [
        { to: next, blocks: kv(heldAt(step)) },
        { from: previous, blocks: kv(heldAt(step + 1)) },
      ]);
    }
    for (const tile of shardTiles(builder.problem, shards[place], shards[heldAt(step)])) {
      program.attend(tile, { headBegin: heads[0], headEnd: heads[1] });
    }
  }
}

function attendBackward(builder: ScheduleBuilder, { ranks, shards, heads, homeParts }: Ring, place: number): void {
  const program = builder.rank(ranks[place]);
  const { next, previous, heldAt } = neighbours(ranks, place);
  const kv = (held: number) => shardBlocks(builder, ["k", "v"], shards[held], { heads });
  const gradients = (shard: Shard, part: number) => shardBlocks(builder, ["dk", "dv"], shard, { heads, part });
  // A travelling sum is named after the rank where it starts, and a rank's own share after that rank.
  const travelling = (held: number) => 1 + ranks[(held + 1) % ranks.length];
  const own = 1 + ranks[place];
  const home = homeParts?.[place] ?? 0;
  for (let step = 0; step < ranks.length; step++) {
    const held = heldAt(step);
    if (step + 1 < ranks.length) {
      program.exchange("p2p", [
        { to: next, blocks: kv(held) },
        { from: previous, blocks: kv(heldAt(step + 1)) },
      ]);
    }
    const tiles = shardTiles(builder.problem, shards[place], shards[held]);
    const starts = step === 1;
    // A sum that starts here is whole even where no tile reaches it; at home the gradient is the tensor itself.
    const share = starts ? shards[held] : rangesWithKeysOf(tiles, shards[held]);
    if (step > 0) for (const block of gradients(share, own)) program.reduce(block);
    for (const tile of tiles) {
      program.attend(tile, { headBegin: heads[0], headEnd: heads[1], kvPart: step === 0 ? home : own });
    }
    if (step === 0) continue;
    // Only here is the sum so far awaited: it travelled while the tiles were computed.
    if (!starts) addAll(program, gradients(share, travelling(held)), gradients(share, own));
    program.exchange("p2p", [
      { to: next, blocks: gradients(shards[held], travelling(held)) },
      { from: previous, blocks: gradients(shards[heldAt(step + 1)], travelling(heldAt(step + 1))) },
    ]);
  }
  const piece = shards[place];
  if (ranks.length > 1) addAll(program, gradients(piece, home), gradients(piece, travelling(place)));
}

/** Where a place's pieces come from and go to, and whose piece it holds at a step (its own at step 0 and step P). */
function neighbours(ranks: readonly number[], place: number) {
  const size = ranks.length;
  return {
    next: ranks[(place + 1) % size],
    previous: ranks[(place - 1 + size) % size],
    heldAt: (step: number) => (place - step + size) % size,
  };
}

export function addAll(
  program: ReturnType<ScheduleBuilder["rank"]>,
  targets: ReturnType<typeof shardBlocks>,
  sources: ReturnType<typeof shardBlocks>,
): void {
  targets.forEach((target, i) => {
    program.reduce(target, sources[i]);
  });
}
