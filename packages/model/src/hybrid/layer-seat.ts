import type { Block, LayerOpKind, ScheduleBuilder, TokenRange } from "@hsap/schedule";
import { type HeadRange, type Piece, type SplicedAttention, within } from "../spliced-attention.ts";
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
    overlap = false,
  ) {
    super(builder, shards, grid, rank, overlap);
  }

  /**
   * Appends an op for each piece of the lane's tokens, or some of them, in which attention has `tensors`: `at(name)` is all of its rows there,
   * with `heads` some column groups of them.
   */
  computePieces(
    kind: LayerOpKind,
    tensors: readonly string[],
    blocksOf: (at: At, heads: HeadRange, sum: At) => readonly Block[],
    lane: readonly TokenRange[] = this.laneTokens,
  ): void {
    const pieces = this.attention.pieces(this.rank, tensors, this.heads(tensors[0]));
    for (const { tokens, heads } of lane === this.laneTokens ? pieces : piecesWithin(pieces, lane))
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

/** The parts of some pieces whose tokens are among others. */
const piecesWithin = (pieces: readonly Piece[], lane: readonly TokenRange[]): Piece[] =>
  pieces.flatMap(({ tokens, heads }) => within([tokens], lane).map((part) => ({ tokens: part, heads })));
