import { type Block, evenRange, type ScheduleBuilder } from "@hsap/schedule";
import { columnsBeside, pointOf, type RankGrid, ranksOfGrid } from "./hybrid/rank-grid.ts";
import { tensorShare } from "./hybrid/tensor-share.ts";
import { nextOf, shardOf } from "./prefetch.ts";
import type { ModelShape } from "./presets.ts";
import type { HeadRange } from "./spliced-attention.ts";
import { gradientOf, layerWeights, type WeightName } from "./stage.ts";

/**
 * Where weights lie between the steps, of those that a tensor rank has at all: all of them with every rank; or a range of rows of each with
 * each rank of a data group (MiCS: Zhang et al., arXiv 2205.00119), or of the whole world (ZeRO-3: Rajbhandari et al., arXiv 1910.02054).
 * Gradients and the optimiser's state are split over the whole world with all of them.
 */
export const weightPlacements = ["replicated", "grouped", "sharded"] as const;
export type WeightPlacement = (typeof weightPlacements)[number];

/** How weights are spread over a model's ranks. */
export interface WeightSpread {
  readonly model: ModelShape;
  readonly grid: RankGrid;
  readonly placement: WeightPlacement;
}

/** Holds a stage's weights, brings them to every rank, and gradients from every rank to their homes. */
export class WeightShards {
  readonly #ranks: readonly number[];
  /** The ranks of each column. */
  readonly #columns: readonly (readonly number[])[];
  // Every rank asks for the shards of all others, of each weight: what was worked out once is kept.
  readonly #splitWeights = new Map<WeightName, boolean>();
  readonly #sharerLists = new Map<string, readonly number[]>();
  readonly #members = new Map<readonly number[], ReadonlySet<number>>();
  readonly #pieces = new Map<string, Block>();
  readonly #shards = new Map<readonly number[], Map<string, (readonly Block[])[]>>();

  constructor(
    private readonly builder: ScheduleBuilder,
    private readonly spread: WeightSpread,
  ) {
    const { grid } = spread;
    this.#ranks = Array.from({ length: ranksOfGrid(grid) }, (_, rank) => rank);
    this.#columns = Array.from({ length: grid.tensor }, (_, column) =>
      this.#ranks.filter((rank) => pointOf(grid, rank).column === column),
    );
  }

  /** Declares where the weights lie, and gathers them where they are sharded, in one group. */
  gather(rank: number, weights: readonly WeightName[]): void {
    const program = this.builder.rank(rank);
    const shards = (owner: number, taker: number) =>
      weights
        .filter((weight) => this.#areSharers(weight, rank, owner, taker))
        .flatMap((weight) => this.#shard(weight, owner, this.#sharers(weight, rank)));
    program.hold(...shards(rank, rank));
    program.exchange(
      "allGather",
      this.#others(rank).flatMap((other) => [
        { to: other, blocks: shards(rank, other) },
        { from: other, blocks: shards(other, rank) },
      ]),
    );
  }

  /** Declares that the weights lie gathered with a rank. */
  hold(rank: number, weights: readonly WeightName[]): void {
    this.builder.rank(rank).hold(...weights.map((weight) => this.#piece(weight, weight, rank)));
  }

  /** Gathers the next layer's weights in one group; declares where they lie before and after. */
  gatherNext(rank: number): void {
    const program = this.builder.rank(rank);
    const rows = (weight: WeightName, owner: number) =>
      this.#shard(weight, owner, this.#sharers(weight, rank)).map((block) => ({ ...block, tensor: nextOf(weight) }));
    for (const weight of layerWeights) {
      program.hold({ ...this.#piece(weight, weight, rank), tensor: nextOf(weight) });
      for (const own of rows(weight, rank)) {
        program.hold({ ...own, tensor: shardOf(weight) });
        program.compute("add", [{ ...own, tensor: shardOf(weight) }, own]);
      }
    }
    const shared = (owner: number, taker: number) =>
      layerWeights
        .filter((weight) => this.#areSharers(weight, rank, owner, taker))
        .flatMap((weight) => rows(weight, owner));
    program.exchange(
      "allGather",
      this.#others(rank).flatMap((other) => [
        { to: other, blocks: shared(rank, other) },
        { from: other, blocks: shared(other, rank) },
      ]),
    );
  }

  /** Reduce-scatters the gradients: hands them over, and adds them up. */
  reduce(rank: number, weights: readonly WeightName[]): void {
    this.scatter(rank, weights);
    this.sum(rank, weights);
  }

  /** Hands each rank's share of the gradients to the ranks that keep their rows, in one group. */
  scatter(rank: number, weights: readonly WeightName[]): void {
    const program = this.builder.rank(rank);
    const shards = (giver: number, keeper: number) =>
      weights
        .filter((weight) => this.#has(this.#keepers(weight, rank), giver === rank ? keeper : giver))
        .filter((weight) => this.#gives(weight, giver))
        .flatMap((weight) => this.#shard(gradientOf(weight), keeper, this.#keepers(weight, rank), 1 + giver));
    for (const weight of weights) program.hold(...this.#shard(gradientOf(weight), rank, this.#keepers(weight, rank)));
    program.exchange(
      "reduceScatter",
      this.#others(rank).flatMap((other) => [
        { to: other, blocks: shards(rank, other) },
        { from: other, blocks: shards(other, rank) },
      ]),
    );
  }

  /** Adds up all ranks' shares of the rows that a rank keeps, in the order of ranks. */
  sum(rank: number, weights: readonly WeightName[]): void {
    const program = this.builder.rank(rank);
    for (const weight of weights) {
      const keepers = this.#keepers(weight, rank);
      if (keepers.length === 1) continue;
      const givers = keepers.filter((other) => this.#gives(weight, other));
      for (const target of this.#shard(gradientOf(weight), rank, keepers))
        program.reduce(target, ...givers.map((other) => ({ ...target, part: 1 + other })));
    }
  }

  /** Makes the rows of a weight that a rank keeps the gradient of from `master`, which lies alike; declares where both lie. */
  store(rank: number, weight: WeightName, master: string): void {
    const program = this.builder.rank(rank);
    program.hold(...this.#shard(weight, rank, this.#sharers(weight, rank)));
    for (const rows of this.#shard(weight, rank, this.#keepers(weight, rank))) {
      program.hold({ ...rows, tensor: master });
      program.compute("add", [{ ...rows, tensor: master }, rows]);
    }
  }

  /** Brings what ranks have stored to where the weights lie, in one group. */
  spreadStored(rank: number, weights: readonly WeightName[]): void {
    // Who updates rows keeps them then.
    if (this.spread.placement === "sharded") return;
    const rows = (giver: number, taker: number) =>
      weights
        .filter((weight) => this.#has(this.#keepers(weight, taker), giver))
        .flatMap((weight) => {
          const wanted = this.#shard(weight, taker, this.#sharers(weight, taker));
          return this.#shard(weight, giver, this.#keepers(weight, giver)).flatMap((given) => inBoth(given, wanted));
        });
    this.builder.rank(rank).exchange(
      "allGather",
      this.#others(rank).flatMap((other) => [
        { to: other, blocks: rows(rank, other) },
        { from: other, blocks: rows(other, rank) },
      ]),
    );
  }

  /** All that a rank computes with of a weight. */
  of(rank: number, weight: WeightName): Block {
    return this.#piece(weight, weight, rank);
  }

  /** The gradient of that, as far as the rank's own tokens give it. */
  shareOf(rank: number, weight: WeightName): Block {
    // What no other rank adds to is the gradient itself.
    const part = this.#keepers(weight, rank).length === 1 ? 0 : 1 + rank;
    return { ...this.#piece(gradientOf(weight), weight, rank), part };
  }

  /** The rows of a rank's piece that it keeps among `sharers`, who have the same piece; none where there are fewer rows. */
  #shard(name: string, rank: number, sharers: readonly number[], part = 0): readonly Block[] {
    const ofSharers = kept(this.#shards, sharers, () => new Map<string, (readonly Block[])[]>());
    const ofName = kept(ofSharers, name, () => []);
    ofName[rank] ??= this.#rowsOf(name, rank, sharers);
    return part === 0 ? ofName[rank] : ofName[rank].map((block) => ({ ...block, part }));
  }

  #rowsOf(name: string, rank: number, sharers: readonly number[]): Block[] {
    const piece = this.#piece(name, name.replace(/^d/, "") as WeightName, rank);
    const { begin, end } = evenRange(piece.tokenEnd - piece.tokenBegin, sharers.length, sharers.indexOf(rank));
    const first = piece.tokenBegin;
    return begin < end ? [{ ...piece, tokenBegin: first + begin, tokenEnd: first + end }] : [];
  }

  #piece(name: string, weight: WeightName, rank: number): Block {
    const { model, grid } = this.spread;
    const { column } = pointOf(grid, rank);
    return kept(this.#pieces, `${name} ${column}`, () => {
      const spec = this.builder.tensors.find((each) => each.name === name || each.name === nextOf(name));
      if (spec?.rows === undefined) throw new Error(`not a weight: ${name}`);
      const share = tensorShare(model, weight, grid.tensor, column);
      const [begin, end] = share?.rows ?? [0, spec.rows];
      const block = this.builder.block(spec.name, { begin, end }, share?.heads as HeadRange | undefined);
      return { ...block, tensor: name };
    });
  }

  /** The ranks that have the same piece of a weight, and so keep its gradient together. */
  #keepers(weight: WeightName, rank: number): readonly number[] {
    return this.#isSplit(weight) ? this.#columns[pointOf(this.spread.grid, rank).column] : this.#ranks;
  }

  /** The ranks that keep the weight itself together. */
  #sharers(weight: WeightName, rank: number): readonly number[] {
    const { grid, placement } = this.spread;
    const keepers = this.#keepers(weight, rank);
    if (placement === "sharded") return keepers;
    const { group, column } = pointOf(grid, rank);
    const key = placement === "replicated" ? `${rank}` : `${group} ${this.#isSplit(weight) ? column : "all"}`;
    return kept(this.#sharerLists, key, () =>
      placement === "replicated" ? [rank] : keepers.filter((other) => pointOf(grid, other).group === group),
    );
  }

  #areSharers(weight: WeightName, rank: number, one: number, other: number): boolean {
    const sharers = this.#sharers(weight, rank);
    return this.#has(sharers, one) && this.#has(sharers, other);
  }

  #has(ranks: readonly number[], rank: number): boolean {
    return kept(this.#members, ranks, () => new Set(ranks)).has(rank);
  }

  /** Whether each tensor rank has a share of a weight only. */
  #isSplit(weight: WeightName): boolean {
    const { model, grid } = this.spread;
    return kept(this.#splitWeights, weight, () => tensorShare(model, weight, grid.tensor, 0) !== undefined);
  }

  /** Whether a rank computes a share of a weight's gradient: it does if it has tokens. */
  #gives(weight: WeightName, rank: number): boolean {
    const { grid } = this.spread;
    const { layout } = this.builder;
    // Of a weight that is split, each rank has the share of all tokens that the ranks beside it own.
    return (this.#isSplit(weight) ? columnsBeside(grid, rank) : [rank]).some((owner) => layout[owner].length > 0);
  }

  #others(rank: number): number[] {
    return this.#ranks.filter((other) => other !== rank);
  }
}

/** The rows of a block that are among others of the same columns. */
const inBoth = (block: Block, others: readonly Block[]): Block[] =>
  others
    .map(({ tokenBegin, tokenEnd }) => ({
      ...block,
      tokenBegin: Math.max(tokenBegin, block.tokenBegin),
      tokenEnd: Math.min(tokenEnd, block.tokenEnd),
    }))
    .filter(({ tokenBegin, tokenEnd }) => tokenBegin < tokenEnd);

/** What `map` has for `key`; made at the first time. */
function kept<Key, Value>(map: Map<Key, Value>, key: Key, make: () => Value): Value {
  let value = map.get(key);
  if (value === undefined) {
    value = make();
    map.set(key, value);
  }
  return value;
}
