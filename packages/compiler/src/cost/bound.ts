import { deviceTiming, ranksPerNode } from "@hsap/cluster";
import type { Problem } from "@hsap/schedule";
import type { Hierarchy } from "../hierarchy.ts";
import type { Sharding } from "../shard/shard.ts";
import type { SplitNodes } from "../shard/split.ts";
import { KernelClock } from "./kernel-time.ts";
import { HeadClock, laneTokenBytes, pairShareOf } from "./transfer-time.ts";

/**
 * Times that no plan of a problem stays below, from what nodes have: known before anything is dealt to ranks or routed, so a way
 * that cannot win need not be planned. A node computes its tiles at best with all ranks alike; heads of documents are gathered
 * before these are computed and scattered after it; and the keys that a node does not have cross to it at its links' full rate.
 */
export class Bounds {
  readonly #clock: KernelClock;
  /** Of what is transferred beside computation, how much that is delayed. */
  readonly #slowedShare: number;
  /** By document, while a node is looked at: where the last of its rows ends, and how many tokens it has. */
  readonly #lastEnd: Int32Array;
  readonly #owned: Int32Array;
  /** What nodes have. */
  readonly #loads: readonly Load[];

  /** @param ranks the hierarchy in which every rank is a unit. */
  constructor(
    readonly problem: Problem,
    readonly ranks: Hierarchy,
    readonly nodes: Sharding,
  ) {
    this.#clock = new KernelClock(problem);
    this.#slowedShare = 1 - 1 / deviceTiming(problem.cluster.device).slowdown;
    this.#lastEnd = new Int32Array(problem.batch.cuSeqlens.length - 1);
    this.#owned = new Int32Array(problem.batch.cuSeqlens.length - 1);
    this.#loads = Array.from({ length: nodes.pieceBegin.length - 1 }, (_, node) => this.#loadOf(nodes, node));
  }

  /** Microseconds of any plan in which heads of some documents are split by the lanes of units, as `hierarchy` has them. */
  ofSplit({ ulysses }: Hierarchy, { split }: SplitNodes): number {
    const { unitBegin } = this.ranks;
    const heads = new HeadClock(this.problem, ulysses);
    let highest = 0;
    let ranks = 0;
    let own = nothing;
    let all = nothing;
    for (let node = 0; node + 1 < unitBegin.length; node++) {
      own = sumOf(own, this.#loadOf(split, node), 1);
      all = sumOf(all, this.#loads[node], 1);
      ranks += unitBegin[node + 1] - unitBegin[node];
      if (ranks < ulysses) continue;
      const gatherUs = heads.gatherUs((own.tokens * ulysses) / ranks);
      const scatterUs = heads.scatterUs((own.tokens * ulysses) / ranks);
      const crossingUs = ulysses > ranksPerNode(this.problem.cluster) ? 0 : this.#crossingUs(split, node, ulysses);
      const splitUs = this.#computeUs(own, ranks, ulysses);
      // Beside transfers computation is slower.
      const computeUs = Math.max(splitUs + this.#slowedShare * crossingUs, crossingUs);
      const wholeUs = this.#computeUs(sumOf(all, own, -1), ranks, 1);
      highest = Math.max(highest, gatherUs + computeUs + scatterUs, splitUs + wholeUs);
      ranks = 0;
      own = nothing;
      all = nothing;
    }
    return highest;
  }

  /** Microseconds of any plan that splits no heads. */
  ofWhole(): number {
    const { unitBegin } = this.ranks;
    let highest = 0;
    for (let node = 0; node + 1 < unitBegin.length; node++) {
      const computeUs = this.#computeUs(this.#loads[node], unitBegin[node + 1] - unitBegin[node], 1);
      highest = Math.max(highest, computeUs, this.#crossingUs(this.nodes, node, 1));
    }
    return highest;
  }

  /**
   * Each of the ranks that share this evenly, by units of `ulysses`. Every document of a call has as many blocks as the longest of
   * them, which is no shorter than they are on average, each counted by its rows.
   */
  #computeUs({ pieces, tokens, lengths, us }: Load, ranks: number, ulysses: number): number {
    if (pieces === 0) return 0;
    const heads = this.problem.shape.heads / ulysses;
    const blocksUs = this.#clock.emptyBlocksUs((pieces * ulysses) / ranks, lengths / tokens, heads);
    return us / ranks + this.#clock.launchUs + blocksUs;
  }

  /** What a node has, as if it had all keys. */
  #loadOf({ pieceBegin, pieces: { document, begin, end } }: Sharding, node: number): Load {
    const { batch, shape, mask } = this.problem;
    const { cuSeqlens } = batch;
    const isCausal = mask === "causal";
    let [us, tokens, lengths] = [0, 0, 0];
    for (let row = pieceBegin[node]; row < pieceBegin[node + 1]; row++) {
      const keysBegin = cuSeqlens[document[row]];
      const keysEnd = isCausal ? end[row] : cuSeqlens[document[row] + 1];
      us += this.#clock.tileUs(begin[row], end[row], keysBegin, keysEnd, isCausal, shape.heads);
      tokens += end[row] - begin[row];
      lengths += (end[row] - begin[row]) * (keysEnd - keysBegin);
    }
    return { pieces: pieceBegin[node + 1] - pieceBegin[node], tokens, lengths, us };
  }

  /** Until the keys of other nodes are there, and in a backward pass their gradients back. */
  #crossingUs({ pieceBegin, pieces: { document, begin, end } }: Sharding, node: number, ulysses: number): number {
    const { batch, cluster, mask, pass } = this.problem;
    const { cuSeqlens } = batch;
    const lastEnd = this.#lastEnd;
    const owned = this.#owned;
    for (let row = pieceBegin[node]; row < pieceBegin[node + 1]; row++) {
      const of = document[row];
      const keysEnd = mask === "causal" ? end[row] : cuSeqlens[of + 1];
      if (keysEnd > lastEnd[of]) lastEnd[of] = keysEnd;
      owned[of] += end[row] - begin[row];
    }
    let tokens = 0;
    for (let row = pieceBegin[node]; row < pieceBegin[node + 1]; row++) {
      const of = document[row];
      if (lastEnd[of] === 0) continue;
      tokens += lastEnd[of] - cuSeqlens[of] - owned[of];
      lastEnd[of] = 0;
      owned[of] = 0;
    }
    if (tokens === 0) return 0;
    const { unitBegin } = this.ranks;
    const units = (unitBegin[node + 1] - unitBegin[node]) / ulysses;
    const nodes = unitBegin.length - 1;
    const level = cluster.levels[1];
    // Each lane receives from the same lane of other units; one of these reaches only a part of the link.
    const share = units === 1 ? Math.min(1, (nodes - 1) * pairShareOf(cluster, 1)) : 1;
    const us = ((tokens / units) * laneTokenBytes(this.problem, { ulysses })) / (1e3 * level.bandwidthGBps * share);
    return pass === "forward" ? us : 2 * us;
  }
}

interface Load {
  readonly pieces: number;
  readonly tokens: number;
  /** The sum over rows of how many keys their piece has. */
  readonly lengths: number;
  /** What one rank would compute for it, without calls. */
  readonly us: number;
}

const nothing: Load = { pieces: 0, tokens: 0, lengths: 0, us: 0 };

const sumOf = (a: Load, b: Load, sign: number): Load => ({
  pieces: a.pieces + sign * b.pieces,
  tokens: a.tokens + sign * b.tokens,
  lengths: a.lengths + sign * b.lengths,
  us: a.us + sign * b.us,
});
