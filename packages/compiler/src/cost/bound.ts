import { deviceTiming, ranksPerNode } from "@hsap/cluster";
import type { Problem } from "@hsap/schedule";
import type { Hierarchy } from "../hierarchy.ts";
import type { Sharding } from "../shard/shard.ts";
import type { SplitNodes } from "../shard/split.ts";
import { KernelClock } from "./kernel-time.ts";
import { HeadClock, laneTokenBytes } from "./transfer-time.ts";

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
  /** What one rank would take for all that a node has. */
  readonly #nodeUs: Float64Array;

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
    this.#nodeUs = Float64Array.from(nodes.pieceBegin.subarray(1), (_, node) => this.#computeUs(nodes, node));
  }

  /** Microseconds of any plan in which heads of some documents are split by the lanes of units, as `hierarchy` has them. */
  ofSplit({ ulysses }: Hierarchy, { split }: SplitNodes): number {
    const { unitBegin } = this.ranks;
    const heads = new HeadClock(this.problem, ulysses);
    let highest = 0;
    const own = { tokens: 0, splitUs: 0, allUs: 0, ranks: 0 };
    for (let node = 0; node + 1 < unitBegin.length; node++) {
      own.tokens += tokensOf(split, node);
      own.splitUs += this.#computeUs(split, node);
      own.allUs += this.#nodeUs[node];
      own.ranks += unitBegin[node + 1] - unitBegin[node];
      if (own.ranks < ulysses) continue;
      const units = own.ranks / ulysses;
      const gatherUs = heads.gatherUs(own.tokens / units);
      const scatterUs = heads.scatterUs(own.tokens / units);
      const crossingUs = ulysses > ranksPerNode(this.problem.cluster) ? 0 : this.#crossingUs(split, node, ulysses);
      // Beside transfers computation is slower.
      const computeUs = Math.max(own.splitUs / own.ranks + this.#slowedShare * crossingUs, crossingUs);
      highest = Math.max(highest, gatherUs + computeUs + scatterUs, own.allUs / own.ranks);
      own.tokens = own.splitUs = own.allUs = own.ranks = 0;
    }
    return highest;
  }

  /** Microseconds of any plan that splits no heads. */
  ofWhole(): number {
    const { unitBegin } = this.ranks;
    let highest = 0;
    for (let node = 0; node + 1 < unitBegin.length; node++) {
      const computeUs = this.#nodeUs[node] / (unitBegin[node + 1] - unitBegin[node]);
      highest = Math.max(highest, computeUs, this.#crossingUs(this.nodes, node, 1));
    }
    return highest;
  }

  /** What one rank would take for all rows of a node, as if it had all keys. */
  #computeUs({ pieceBegin, pieces: { document, begin, end } }: Sharding, node: number): number {
    const { batch, shape, mask } = this.problem;
    const { cuSeqlens } = batch;
    const isCausal = mask === "causal";
    let us = 0;
    for (let row = pieceBegin[node]; row < pieceBegin[node + 1]; row++) {
      const keysEnd = isCausal ? end[row] : cuSeqlens[document[row] + 1];
      us += this.#clock.tileUs(begin[row], end[row], cuSeqlens[document[row]], keysEnd, isCausal, shape.heads);
    }
    return us;
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
    const share = units === 1 ? Math.min(1, (nodes - 1) * deviceTiming(cluster.device).pairShare[1]) : 1;
    const us = ((tokens / units) * laneTokenBytes(this.problem, { ulysses })) / (1e3 * level.bandwidthGBps * share);
    return pass === "forward" ? us : 2 * us;
  }
}

function tokensOf({ pieceBegin, pieces }: Sharding, node: number): number {
  let tokens = 0;
  for (let row = pieceBegin[node]; row < pieceBegin[node + 1]; row++) tokens += pieces.end[row] - pieces.begin[row];
  return tokens;
}
