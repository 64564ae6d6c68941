import { type Block, evenRanges, type ScheduleBuilder } from "@hsap/schedule";
import { gradientOf, type WeightName } from "./stage.ts";

/** Where weights lie between the steps: all of them with every rank, or a range of rows of each with each rank (ZeRO-3). */
export const weightPlacements = ["replicated", "sharded"] as const;
export type WeightPlacement = (typeof weightPlacements)[number];

/** Holds a stage's weights, brings them to every rank, and gradients from every rank to their homes. */
export class WeightShards {
  readonly #ranks: number;

  constructor(
    private readonly builder: ScheduleBuilder,
    private readonly placement: WeightPlacement,
    /** Ranks that own tokens, and so have a share of every gradient. */
    private readonly contributors: readonly number[],
    ranks: number,
  ) {
    this.#ranks = ranks;
  }

  /** Declares where the weights lie, and gathers them where they are sharded, in one group. */
  gather(rank: number, weights: readonly WeightName[]): void {
    const program = this.builder.rank(rank);
    if (this.placement === "replicated") {
      program.hold(...weights.map((weight) => this.whole(weight)));
      return;
    }
    program.hold(...this.#shards(weights, rank));
    program.exchange(
      "allGather",
      this.#others(rank).flatMap((other) => [
        { to: other, blocks: this.#shards(weights, rank) },
        { from: other, blocks: this.#shards(weights, other) },
      ]),
    );
  }

  /** Reduce-scatters the gradients: hands them over, and adds them up. */
  reduce(rank: number, weights: readonly WeightName[]): void {
    this.scatter(rank, weights);
    this.sum(rank, weights);
  }

  /** Hands each rank's share of the gradients (part 1 + rank) to the ranks that keep their rows, in one group. */
  scatter(rank: number, weights: readonly WeightName[]): void {
    const program = this.builder.rank(rank);
    const gradients = weights.map(gradientOf);
    program.hold(...this.#shards(gradients, rank));
    const gives = this.contributors.includes(rank);
    program.exchange(
      "reduceScatter",
      this.#others(rank).flatMap((other) => [
        ...(gives ? [{ to: other, blocks: this.#shards(gradients, other, 1 + rank) }] : []),
        ...(this.contributors.includes(other)
          ? [{ from: other, blocks: this.#shards(gradients, rank, 1 + other) }]
          : []),
      ]),
    );
  }

  /** Adds up all ranks' shares of the rows that a rank keeps, in the order of ranks. */
  sum(rank: number, weights: readonly WeightName[]): void {
    const program = this.builder.rank(rank);
    for (const target of this.#shards(weights.map(gradientOf), rank))
      program.reduce(target, ...this.contributors.map((other) => ({ ...target, part: 1 + other })));
  }

  /** All of a weight or gradient. */
  whole(name: string, part = 0): Block {
    return this.builder.block(name, { begin: 0, end: this.#rows(name) }, undefined, part);
  }

  #shards(names: readonly string[], rank: number, part = 0): Block[] {
    return names.flatMap((name) => {
      const range = evenRanges(this.#rows(name), this.#ranks)[rank];
      return range.begin < range.end ? [this.builder.block(name, range, undefined, part)] : [];
    });
  }

  #rows(name: string): number {
    const rows = this.builder.tensors.find((spec) => spec.name === name)?.rows;
    if (rows === undefined) throw new Error(`not a weight: ${name}`);
    return rows;
  }

  #others(rank: number): number[] {
    return Array.from({ length: this.#ranks }, (_, other) => other).filter((other) => other !== rank);
  }
}
