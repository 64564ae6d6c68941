import {
  type Block,
  type LayerOpKind,
  layoutOf,
  type ProgramBuilder,
  type ScheduleBuilder,
  type TokenRange,
} from "@hsap/schedule";
import type { HeadRange } from "../spliced-attention.ts";
import type { WeightName } from "../stage.ts";
import type { WeightShards } from "../weight-shards.ts";
import { columnsBeside, pointOf, type RankGrid } from "./rank-grid.ts";

/** What products of a lane's tokens need and leave: rows that tensor ranks gather before them, and a sum that they scatter after them. */
interface LaneRows {
  readonly gather?: string;
  readonly scatter?: string;
}

/** Names a block of some tokens: all columns of a tensor, or those given. */
export type At = (name: string, heads?: HeadRange) => Block;

/**
 * One rank's part of a stage. Norms and residuals are computed for the rank's *own* tokens; products for its *lane's* tokens, which the
 * tensor ranks beside it own together, with its share of the columns. Without tensor parallelism both are the same tokens.
 */
export class TensorSeat {
  readonly program: ProgramBuilder;
  readonly ownTokens: readonly TokenRange[];
  readonly laneTokens: readonly TokenRange[];
  /** Part of what every tensor rank adds its share to. */
  protected readonly part: number;
  readonly #beside: readonly number[];

  constructor(
    readonly builder: ScheduleBuilder,
    readonly shards: WeightShards,
    readonly grid: RankGrid,
    readonly rank: number,
    private readonly overlap = false,
  ) {
    this.program = builder.rank(rank);
    this.part = grid.tensor === 1 ? 0 : 1 + rank;
    const columns = columnsBeside(grid, rank);
    this.#beside = columns.filter((other) => other !== rank);
    this.ownTokens = builder.layout[rank];
    [this.laneTokens] = layoutOf([columns.flatMap((owner) => builder.layout[owner])]);
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
    for (const tokens of this.ownTokens)
      this.program.compute(
        kind,
        blocksOf((name, heads) => this.builder.block(name, tokens, heads)),
      );
  }

  /**
   * The same for the lane's tokens, or some of them; of tensors that are split, `at` names this rank's columns. `sum` names its share of a
   * sum over columns.
   */
  computeLane(
    kind: LayerOpKind,
    blocksOf: (at: At, sum: At) => readonly Block[],
    lane: readonly TokenRange[] = this.laneTokens,
  ): void {
    for (const tokens of lane)
      this.program.compute(
        kind,
        blocksOf(
          (name, heads = this.columns(name)) => this.builder.block(name, tokens, heads),
          (name) => this.builder.block(name, tokens, undefined, this.part),
        ),
      );
  }

  /**
   * Does `products` of the lane's tokens, between the gather of what they need and the scatter of their sum. Where a problem overlaps these,
   * each tensor rank's tokens are a piece, the rank's own the first: rows of one arrive and sums of another leave while a third is computed,
   * as with the user buffers of TransformerEngine (Chang et al., Flux, arXiv 2406.06858, tell of it and of finer pieces).
   */
  aroundLane({ gather, scatter }: LaneRows, products: (tokens: readonly TokenRange[]) => void): void {
    if (!this.overlap || !this.isSplit) {
      if (gather !== undefined) this.gatherRows(gather);
      products(this.laneTokens);
      if (scatter !== undefined) this.scatterSum(scatter);
      return;
    }
    const columns = columnsBeside(this.grid, this.rank);
    const at = columns.indexOf(this.rank);
    const beside = (step: number) => columns[(at + step + columns.length) % columns.length];
    if (gather !== undefined)
      for (let step = 1; step < columns.length; step++)
        this.program.exchange("p2p", [
          { to: beside(-step), blocks: this.#rows(gather, this.rank) },
          { from: beside(step), blocks: this.#rows(gather, beside(step)) },
        ]);
    for (let step = 0; step < columns.length; step++) {
      products(this.builder.layout[beside(step)]);
      if (scatter === undefined || step === 0) continue;
      this.program.exchange("p2p", [
        { to: beside(step), blocks: this.#rows(scatter, beside(step), 1 + this.rank) },
        { from: beside(-step), blocks: this.#rows(scatter, this.rank, 1 + beside(-step)) },
      ]);
    }
    if (scatter !== undefined) this.#addShares(scatter);
  }

  /** What the rank has of a weight, or some column groups or rows of that. */
  weight(name: WeightName, of: WeightPart = {}): Block {
    return partOf(this.shards.of(this.rank, name), of);
  }

  /** This rank's share of the gradient of that. */
  share(name: WeightName, of: WeightPart = {}): Block {
    return partOf(this.shards.shareOf(this.rank, name), of);
  }

  /** Brings the rows of the lane's tokens, which the tensor ranks own in pieces, to all of them. */
  gatherRows(name: string): void {
    this.#exchangeBeside("allGather", (giver) => this.#rows(name, giver));
  }

  /** Brings every tensor rank's columns of the lane's tokens, or of some of them, to all of them. */
  gatherColumns(name: string, lane: readonly TokenRange[] = this.laneTokens): void {
    this.#exchangeBeside("allGather", (giver) =>
      lane.map((tokens) => this.builder.block(name, tokens, this.columns(name, giver))),
    );
  }

  /** Adds up the tensor ranks' shares of a sum over columns where the rows are owned. */
  scatterSum(name: string): void {
    if (!this.isSplit) return;
    this.#exchangeBeside("reduceScatter", (giver, taker) => this.#rows(name, taker, 1 + giver));
    this.#addShares(name);
  }

  #addShares(name: string): void {
    const givers = [this.rank, ...this.#beside].sort((a, b) => a - b);
    for (const tokens of this.ownTokens)
      this.program.reduce(
        this.builder.block(name, tokens),
        ...givers.map((giver) => this.builder.block(name, tokens, undefined, 1 + giver)),
      );
  }

  /** The columns of a tensor that a rank has of its lane's tokens: its share of a tensor with several column groups, else all. */
  protected columns(name: string, rank = this.rank): HeadRange | undefined {
    const heads = this.heads(name);
    if (heads === 1) return undefined;
    const { column } = pointOf(this.grid, rank);
    const share = heads / this.grid.tensor;
    return [share * column, share * (column + 1)];
  }

  protected heads(name: string): number {
    return this.builder.tensors.find((spec) => spec.name === name)?.heads ?? 1;
  }

  /** All columns of what a rank owns. */
  #rows(name: string, owner: number, part = 0): Block[] {
    return this.builder.layout[owner].map((tokens) => this.builder.block(name, tokens, undefined, part));
  }

  #exchangeBeside(kind: "allGather" | "reduceScatter", blocks: (giver: number, taker: number) => Block[]): void {
    this.program.exchange(
      kind,
      this.#beside.flatMap((other) => [
        { to: other, blocks: blocks(this.rank, other) },
        { from: other, blocks: blocks(other, this.rank) },
      ]),
    );
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
