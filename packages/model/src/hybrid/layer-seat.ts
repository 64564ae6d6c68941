import type { Block, LayerOpKind, ScheduleBuilder } from "@hsap/schedule";
import type { HeadRange, SplicedAttention } from "../spliced-attention.ts";
import type { WeightShards } from "../weight-shards.ts";
import type { RankGrid } from "./rank-grid.ts";
import { type At, TensorSeat } from "./tensor-seat.ts";

/** One rank's part of a layer's stage: attention stands between the products of its lane's tokens. */
export class LayerSeat extends TensorSeat {
  constructor(
    builder: ScheduleBuilder,
    shards: WeightShards,
    readonly attention: SplicedAttention,
    grid: RankGrid,
    rank: number,
  ) {
    super(builder, shards, grid, rank);
  }

  /**
   * Appends an op for each piece of the lane's tokens in which attention has `tensors`: `at(name)` is all of its rows there, with `heads`
   * some column groups of them.
   */
  computePieces(
    kind: LayerOpKind,
    tensors: readonly string[],
    blocksOf: (at: At, heads: HeadRange, sum: At) => readonly Block[],
  ): void {
    for (const { tokens, heads } of this.attention.pieces(this.rank, tensors, this.heads(tensors[0])))
      this.program.compute(
        kind,
        blocksOf(
          (name, of) => this.builder.block(name, tokens, of),
          heads,
          (name) => this.builder.block(name, tokens, undefined, this.part),
        ),
      );
  }

  /** Says where what the forward pass keeps for the backward pass lies, where that is not with the owners of its rows. */
  holdSaved(names: readonly string[], attention: SplicedAttention): void {
    for (const name of names) {
      if (this.isSplit && this.heads(name) > 1 && !attention.isResident(name))
        this.program.hold(...this.laneTokens.map((tokens) => this.builder.block(name, tokens, this.columns(name))));
      else this.program.hold(...attention.keptBlocks(this.rank, name));
    }
  }
}
