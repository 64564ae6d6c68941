import type { Block, LayerOpKind, ProgramBuilder, ScheduleBuilder, TokenRange } from "@hsap/schedule";
import type { HeadRange, SplicedAttention } from "../spliced-attention.ts";
import type { WeightName } from "../stage.ts";
import type { WeightShards } from "../weight-shards.ts";
import { columnsBeside, type RankGrid } from "./rank-grid.ts";

/** Names a block of some tokens: all columns of a tensor, or those given. */
type At = (name: string, heads?: HeadRange) => Block;

/**
 * One rank's part of a layer's stage. Norms and residuals are computed for the rank's *own* tokens; projections and attention for its
 * *lane's* tokens, which the tensor ranks beside it own together, with its share of heads and columns. Without tensor parallelism both
 * are the same tokens.
 */
export class LayerSeat {
  readonly program: ProgramBuilder;
  /** Part of what every tensor rank adds its share to. */
  readonly #part: number;
  readonly #beside: readonly number[];
  readonly #laneTokens: readonly TokenRange[];

  constructor(
    readonly builder: ScheduleBuilder,
    readonly shards: WeightShards,
    readonly attention: SplicedAttention,
    grid: RankGrid,
    readonly rank: number,
  ) {
    this.program = builder.rank(rank);
    this.#part = grid.tensor === 1 ? 0 : 1 + rank;
    this.#beside = columnsBeside(grid, rank).filter((other) => other !== rank);
    this.#laneTokens = attention.shard(rank);
  }

  /** Whether other ranks have other columns of the same tokens. */
  get isSplit(): boolean {
    return this.#beside.length > 0;
  }

  /**
   * Appends an op for each range of the rank's own tokens, one after another: what a device does in one call, as its own tokens lie side by
   * side in its memory.
   */
  compute(kind: LayerOpKind, blocksOf: (at: At) => readonly Block[]): void {
    for (const tokens of this.builder.layout[this.rank])
      this.program.compute(
        kind,
        blocksOf((name, heads) => this.builder.block(name, tokens, heads)),
      );
  }

  /** The same for the lane's tokens; of tensors that are split, `at` names this rank's columns. `sum` names its share of a sum over columns. */
  computeLane(kind: LayerOpKind, blocksOf: (at: At, sum: At) => readonly Block[]): void {
    for (const tokens of this.#laneTokens)
      this.program.compute(
        kind,
        blocksOf(
          (name, heads = this.#columns(name)) => this.builder.block(name, tokens, heads),
          (name) => this.builder.block(name, tokens, undefined, this.#part),
        ),
      );
  }

  /**
   * The same for each piece of the lane's tokens in which attention has `tensors`: `at(name)` is all of its rows there, with `heads` some
   * column groups of them.
   */
  computePieces(
    kind: LayerOpKind,
    tensors: readonly string[],
    blocksOf: (at: At, heads: HeadRange, sum: At) => readonly Block[],
  ): void {
    for (const { tokens, heads } of this.attention.pieces(this.rank, tensors, this.#heads(tensors[0])))
      this.program.compute(
        kind,
        blocksOf(
          (name, of) => this.builder.block(name, tokens, of),
          heads,
          (name) => this.builder.block(name, tokens, undefined, this.#part),
        ),
      );
  }

  /** What the rank has of a weight, or some column groups or rows of that. */
  weight(name: WeightName, of: WeightPart = {}): Block {
    return partOf(this.shards.of(this.rank, name), of);
  }

  /** This rank's share of the gradient of that. */
  share(name: WeightName, of: WeightPart = {}): Block {
    return partOf(this.shards.shareOf(this.rank, name), of);
  }

  /** Says where what the forward pass keeps for the backward pass lies, where that is not with the owners of its rows. */
  holdSaved(names: readonly string[], attention: SplicedAttention): void {
    for (const name of names) {
      if (this.isSplit && this.#heads(name) > 1 && !attention.isResident(name))
        this.program.hold(...this.#laneTokens.map((tokens) => this.builder.block(name, tokens, this.#columns(name))));
      else this.program.hold(...attention.keptBlocks(this.rank, name));
    }
  }

  /** Brings the rows of the lane's tokens, which the tensor ranks own in pieces, to all of them. */
  gatherRows(name: string): void {
    const { rank } = this;
    const own = (owner: number) => this.builder.layout[owner].map((tokens) => this.builder.block(name, tokens));
    this.program.exchange(
      "allGather",
      this.#beside.flatMap((other) => [
        { to: other, blocks: own(rank) },
        { from: other, blocks: own(other) },
      ]),
    );
  }

  /** Adds up the tensor ranks' shares of a sum over columns where the rows are owned. */
  scatterSum(name: string): void {
    if (!this.isSplit) return;
    const { rank } = this;
    const share = (owner: number, giver: number) =>
      this.builder.layout[owner].map((tokens) => this.builder.block(name, tokens, undefined, 1 + giver));
    this.program.exchange(
      "reduceScatter",
      this.#beside.flatMap((other) => [
        { to: other, blocks: share(other, rank) },
        { from: other, blocks: share(rank, other) },
      ]),
    );
    const givers = [rank, ...this.#beside].sort((a, b) => a - b);
    for (const tokens of this.builder.layout[rank])
      this.program.reduce(
        this.builder.block(name, tokens),
        ...givers.map((giver) => this.builder.block(name, tokens, undefined, 1 + giver)),
      );
  }

  /** The columns of a tensor that the rank has of its lane's tokens: a share of what attention or the activation works on, else all. */
  #columns(name: string): HeadRange | undefined {
    return this.#heads(name) === 1 ? undefined : this.attention.headsOf(this.rank, this.#heads(name));
  }

  #heads(name: string): number {
    return this.builder.tensors.find((spec) => spec.name === name)?.heads ?? 1;
  }
}

interface WeightPart {
  readonly heads?: HeadRange;
  readonly rows?: HeadRange;
}

const partOf = (block: Block, { heads, rows }: WeightPart): Block => ({
  ...block,
  ...(heads === undefined ? {} : { headBegin: heads[0], headEnd: heads[1] }),
  ...(rows === undefined ? {} : { tokenBegin: rows[0], tokenEnd: rows[1] }),
});
