import {
  type Block,
  type LayerOpKind,
  type Layout,
  type ProgramBuilder,
  type Schedule,
  ScheduleBuilder,
  type Strategy,
  type TokenRange,
} from "@hsap/schedule";
import { InputError } from "@hsap/workload";
import { endStages } from "./end-stages.ts";
import { withKeptKv } from "./kept-kv.ts";
import type { LayerStrategy, StageContext } from "./layer-strategy.ts";
import { attentionProblemOf, type ModelProblem } from "./model-problem.ts";
import { type CheapTensor, cheapTensors, madeAgain } from "./recomputation.ts";
import { type HeadRange, SplicedAttention } from "./spliced-attention.ts";
import { equationsOf, gradientOf, savedTensors, stageTensors } from "./stage.ts";
import { type WeightPlacement, WeightShards } from "./weight-shards.ts";

/**
 * Any attention strategy as a strategy for whole layers. Each rank computes norms, projections and the feed-forward part for its own
 * tokens; the strategy's own schedule stands between the projections. Weights are replicated or sharded by rows (ZeRO-3, Rajbhandari
 * et al., arXiv 1910.02054): gathered before a layer, gradients reduce-scattered after it.
 */
export function sequenceParallel(attention: Strategy, placement: WeightPlacement): LayerStrategy {
  return {
    name: attention.name,
    summary: `${attention.summary} Weights are ${placement}.`,
    citation: attention.citation,
    degreeNames: attention.degreeNames,
    ...(attention.options === undefined ? {} : { options: attention.options }),
    defaultDegrees: (problem) => attention.defaultDegrees(attentionProblemOf(problem, "forward")),
    candidateDegrees: (problem) => attention.candidateDegrees(attentionProblemOf(problem, "forward")),

    compile(problem, degrees, options = {}) {
      const passes = {
        forward: attention.compile(attentionProblemOf(problem, "forward"), degrees, options),
        backward: attention.compile(attentionProblemOf(problem, "backward"), degrees, options),
      };
      const kept = problem.receivedKv === "keep" ? withKeptKv(passes) : passes;
      const [forward, backward] = [new SplicedAttention(kept.forward), new SplicedAttention(kept.backward)];
      const { layout } = forward.schedule;
      if (!sameLayout(layout, backward.schedule.layout))
        throw new InputError(`unsupported strategy: ${attention.name} (its passes have different layouts)`);
      const context: StageContext = { problem, strategy: attention.name, degrees, layout };
      return {
        ...endStages(context, placement),
        layerForward: layerForward(context, placement, forward, backward),
        layerBackward: layerBackward(context, placement, backward),
      };
    },
  };
}

const sameLayout = (a: Layout, b: Layout): boolean => JSON.stringify(a) === JSON.stringify(b);

/** The weights of a layer by the side of attention on which they are used: in a backward pass the others come first. */
const beforeAttention = ["g1", "wq", "wk", "wv"] as const;
const behindAttention = ["wo", "g2", "wg", "wu", "wd"] as const;

/** One rank's part of a stage, with short names for its blocks. */
class Seat {
  readonly program: ProgramBuilder;

  constructor(
    readonly builder: ScheduleBuilder,
    readonly shards: WeightShards,
    readonly attention: SplicedAttention,
    readonly rank: number,
    readonly ranges: readonly TokenRange[],
  ) {
    this.program = builder.rank(rank);
  }

  /**
   * Appends an op for each range of the rank's tokens, one after another: what a device does in one call, as its own tokens lie side by
   * side in its memory.
   */
  compute(kind: LayerOpKind, blocksOf: (at: (name: string, heads?: HeadRange) => Block) => readonly Block[]): void {
    for (const tokens of this.ranges)
      this.program.compute(
        kind,
        blocksOf((name, heads) => this.builder.block(name, tokens, heads)),
      );
  }

  /** This rank's share of a weight's gradient, or of some of its column groups or rows. */
  share(weight: string, of: { heads?: HeadRange; rows?: HeadRange } = {}): Block {
    return this.#piece(this.shards.whole(gradientOf(weight), 1 + this.rank), of);
  }

  weight(name: string, of: { heads?: HeadRange; rows?: HeadRange } = {}): Block {
    return this.#piece(this.shards.whole(name), of);
  }

  /**
   * Appends an op for each piece of the rank's tokens in which attention has `tensors`: `at(name)` is all of its rows there, with `heads`
   * some column groups of them.
   */
  computePieces(
    kind: LayerOpKind,
    tensors: readonly string[],
    blocksOf: (at: (name: string, heads?: HeadRange) => Block, heads: HeadRange) => readonly Block[],
  ): void {
    const { heads: count = 1 } = this.builder.tensors.find(({ name }) => name === tensors[0]) ?? {};
    for (const { tokens, heads } of this.attention.pieces(this.rank, tensors, count, this.ranges))
      this.program.compute(
        kind,
        blocksOf((name, of) => this.builder.block(name, tokens, of), heads),
      );
  }

  #piece(block: Block, { heads, rows }: { heads?: HeadRange; rows?: HeadRange }): Block {
    return {
      ...block,
      ...(heads === undefined ? {} : { headBegin: heads[0], headEnd: heads[1] }),
      ...(rows === undefined ? {} : { tokenBegin: rows[0], tokenEnd: rows[1] }),
    };
  }
}

/** Rows of `wo` that belong to some heads. */
const rowsOfHeads = ([begin, end]: HeadRange, headDim: number): HeadRange => [begin * headDim, end * headDim];

function layerForward(
  { problem, strategy, degrees, layout }: StageContext,
  placement: WeightPlacement,
  attention: SplicedAttention,
  backward: SplicedAttention,
): Schedule {
  const seats = seatsOf(problem, "layerForward", { problem, strategy, degrees, layout }, placement, attention);
  seats.forEach((seat, rank) => {
    // What the backward pass wants in another form than the layout's is left in that form.
    for (const name of savedTensors(cheapTensors)) seat.program.hold(...backward.keptBlocks(rank, name));
    // The second group arrives while the first is used.
    seat.shards.gather(rank, beforeAttention);
    seat.shards.gather(rank, behindAttention);
    project(seat);
    attention.append(seat.program, rank);
    finish(seat, problem.model.headDim);
  });
  return seats[0].builder.finish();
}

function seatsOf(
  problem: ModelProblem,
  stage: "layerForward" | "layerBackward",
  { strategy, degrees, layout }: StageContext,
  placement: WeightPlacement,
  attention: SplicedAttention,
): Seat[] {
  const tensors = [
    ...stageTensors(problem, stage).map((spec) => attention.adapted(spec)),
    ...attention.ownTensors.map((spec) => ({ ...spec, role: "internal" as const })),
  ];
  const { problem: own } = attention.schedule;
  const builder = new ScheduleBuilder(own, strategy, degrees, layout, tensors, equationsOf(stage, madeAgain(problem)));
  const shards = new WeightShards(builder, placement, attention.owners, layout.length);
  return layout.map((ranges, rank) => new Seat(builder, shards, attention, rank, ranges));
}

/** x -> q, k, v */
function project(seat: Seat): void {
  seat.compute("rmsNorm", (at) => [at("x"), seat.weight("g1"), at("n1")]);
  for (const name of ["q", "k"]) {
    seat.compute("linear", (at) => [at("n1"), seat.weight(`w${name}`), at(`${name}0`)]);
    seat.computePieces("rotary", [name], (at, heads) => [at(`${name}0`, heads), at(name, heads)]);
  }
  seat.computePieces("linear", ["v"], (at, heads) => [at("n1"), seat.weight("wv", { heads }), at("v", heads)]);
}

/** x, o -> y */
function finish(seat: Seat, headDim: number): void {
  seat.compute("add", (at) => [at("x"), at("h")]);
  seat.computePieces("linear", ["o"], (at, heads) => {
    const rows = rowsOfHeads(heads, headDim);
    return [at("o", heads), seat.weight("wo", { rows }), at("h")];
  });
  seat.compute("rmsNorm", (at) => [at("h"), seat.weight("g2"), at("n2")]);
  seat.compute("linear", (at) => [at("n2"), seat.weight("wg"), at("gate")]);
  seat.compute("linear", (at) => [at("n2"), seat.weight("wu"), at("up")]);
  seat.compute("swiglu", (at) => [at("gate"), at("up"), at("m")]);
  seat.compute("add", (at) => [at("h"), at("y")]);
  seat.compute("linear", (at) => [at("m"), seat.weight("wd"), at("y")]);
}

function layerBackward(context: StageContext, placement: WeightPlacement, attention: SplicedAttention): Schedule {
  const { problem, layout } = context;
  const again = madeAgain(problem);
  const seats = seatsOf(problem, "layerBackward", context, placement, attention);
  seats.forEach((seat, rank) => {
    for (const name of savedTensors(cheapTensors)) seat.program.hold(...attention.keptBlocks(rank, name));
    seat.shards.gather(rank, behindAttention);
    seat.shards.gather(rank, beforeAttention);
    unfinish(seat, again, problem.model.headDim);
    handOverDelta(seat, layout);
    attention.append(seat.program, rank);
    // These are on their way while the others are computed.
    seat.shards.scatter(rank, behindAttention);
    unproject(seat, again);
    seat.shards.sum(rank, behindAttention);
    seat.shards.reduce(rank, beforeAttention);
  });
  return seats[0].builder.finish();
}

/** dy -> dh, do, delta and the gradients of the weights behind attention. */
function unfinish(seat: Seat, again: readonly CheapTensor[], headDim: number): void {
  if (again.includes("m")) seat.compute("swiglu", (at) => [at("gate"), at("up"), at("m")]);
  seat.compute("linearInputGradient", (at) => [at("dy"), seat.weight("wd"), at("dm")]);
  seat.compute("linearWeightGradient", (at) => [at("m"), at("dy"), seat.share("wd")]);
  seat.compute("swigluGradient", (at) => ["gate", "up", "dm", "dgate", "dup"].map((name) => at(name)));
  if (again.includes("n2")) seat.compute("rmsNorm", (at) => [at("h"), seat.weight("g2"), at("n2")]);
  seat.compute("linearWeightGradient", (at) => [at("n2"), at("dgate"), seat.share("wg")]);
  seat.compute("linearWeightGradient", (at) => [at("n2"), at("dup"), seat.share("wu")]);
  seat.compute("linearInputGradient", (at) => [at("dgate"), seat.weight("wg"), at("dn2")]);
  seat.compute("linearInputGradient", (at) => [at("dup"), seat.weight("wu"), at("dn2")]);
  seat.compute("add", (at) => [at("dy"), at("dh")]);
  seat.compute("rmsNormGradient", (at) => [at("h"), seat.weight("g2"), at("dn2"), at("dh"), seat.share("g2")]);
  const rows = (heads: HeadRange) => ({ rows: rowsOfHeads(heads, headDim) });
  seat.computePieces("linearInputGradient", ["do", "delta"], (at, heads) => [
    ...[at("dh"), seat.weight("wo", rows(heads)), at("do", heads)],
  ]);
  seat.computePieces("linearWeightGradient", ["do", "delta"], (at, heads) => [
    ...[at("o", heads), at("dh"), seat.share("wo", rows(heads))],
  ]);
  seat.computePieces("rowDot", ["do", "delta"], (at, heads) => [at("o", heads), at("do", heads), at("delta", heads)]);
}

/** Brings delta, which its owner makes, to where attention wants it in another form than the layout's. */
function handOverDelta({ program, attention, rank }: Seat, layout: Layout): void {
  if (!attention.isResident("delta")) return;
  const pieces = (owner: number, taker: number) =>
    attention
      .residentBlocks(taker, "delta")
      .flatMap((wanted) =>
        layout[owner].map((tokens) => ({
          ...wanted,
          tokenBegin: Math.max(wanted.tokenBegin, tokens.begin),
          tokenEnd: Math.min(wanted.tokenEnd, tokens.end),
        })),
      )
      .filter(({ tokenBegin, tokenEnd }) => tokenBegin < tokenEnd);
  program.exchange(
    "allToAll",
    layout.flatMap((_, other) =>
      other === rank
        ? []
        : [
            { to: other, blocks: pieces(rank, other) },
            { from: other, blocks: pieces(other, rank) },
          ],
    ),
  );
}

/** dq, dk, dv, dh -> dx and the gradients of the weights before attention. */
function unproject(seat: Seat, again: readonly CheapTensor[]): void {
  if (again.includes("n1")) seat.compute("rmsNorm", (at) => [at("x"), seat.weight("g1"), at("n1")]);
  for (const name of ["q", "k"]) {
    seat.computePieces("rotaryGradient", [`d${name}`], (at, heads) => [at(`d${name}`, heads), at(`d${name}0`, heads)]);
    seat.compute("linearWeightGradient", (at) => [at("n1"), at(`d${name}0`), seat.share(`w${name}`)]);
    seat.compute("linearInputGradient", (at) => [at(`d${name}0`), seat.weight(`w${name}`), at("dn1")]);
  }
  seat.computePieces("linearWeightGradient", ["dv"], (at, heads) => [
    at("n1"),
    at("dv", heads),
    seat.share("wv", { heads }),
  ]);
  seat.computePieces("linearInputGradient", ["dv"], (at, heads) => [
    at("dv", heads),
    seat.weight("wv", { heads }),
    at("dn1"),
  ]);
  seat.compute("add", (at) => [at("dh"), at("dx")]);
  seat.compute("rmsNormGradient", (at) => [at("x"), seat.weight("g1"), at("dn1"), at("dx"), seat.share("g1")]);
}
