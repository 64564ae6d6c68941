import { type Schedule, ScheduleBuilder } from "@hsap/schedule";
import type { StageContext } from "../layer-strategy.ts";
import { attentionProblemOf } from "../model-problem.ts";
import { isPrefetched, nextEquations, nextTensors } from "../prefetch.ts";
import { type CheapTensor, cheapTensors, madeAgain } from "../recomputation.ts";
import type { HeadRange, SplicedAttention } from "../spliced-attention.ts";
import { equationsOf, layerWeights, savedTensors, stageTensors } from "../stage.ts";
import { WeightShards } from "../weight-shards.ts";
import { LayerSeat } from "./layer-seat.ts";

/** The weights of a layer by the side of attention on which they are used: in a backward pass the others come first. */
const beforeAttention = ["g1", "wq", "wk", "wv"] as const;
const behindAttention = ["wo", "g2", "wg", "wu", "wd"] as const;

/** A layer's forward stage around `attention`, which leaves what `backward` wants. */
export function layerForward(context: StageContext, attention: SplicedAttention, backward: SplicedAttention): Schedule {
  const again = againOf(context);
  const ahead = isPrefetched(context);
  const { seats, builder } = seatsOf(context, "layerForward", attention, again);
  for (const seat of seats) {
    seat.holdSaved(savedTensors(again), backward);
    // The second group arrives while the first is used.
    if (ahead) seat.shards.hold(seat.rank, layerWeights);
    else for (const weights of [beforeAttention, behindAttention]) seat.shards.gather(seat.rank, weights);
    project(seat);
    attention.append(seat.program, seat.rank);
    // Attention's own transfers go first.
    if (ahead) seat.shards.gatherNext(seat.rank);
    finish(seat, context.problem.model.headDim);
  }
  return builder.finish();
}

export function layerBackward(context: StageContext, attention: SplicedAttention): Schedule {
  const again = againOf(context);
  const ahead = isPrefetched(context);
  const { seats, builder } = seatsOf(context, "layerBackward", attention, again);
  for (const seat of seats) {
    seat.holdSaved(savedTensors(again), attention);
    if (ahead) {
      seat.shards.hold(seat.rank, layerWeights);
      seat.shards.gatherNext(seat.rank);
    } else for (const weights of [behindAttention, beforeAttention]) seat.shards.gather(seat.rank, weights);
    unfinish(seat, again, context.problem.model.headDim);
    handOverDelta(seat);
    attention.append(seat.program, seat.rank);
    // These are on their way while the others are computed.
    seat.shards.scatter(seat.rank, behindAttention);
    unproject(seat, again);
    seat.shards.sum(seat.rank, behindAttention);
    seat.shards.reduce(seat.rank, beforeAttention);
  }
  return builder.finish();
}

/**
 * What the backward stage makes again. Tensor ranks gather normed rows once more whatever is kept, and one that gathers them has kept too
 * little of them to be worth it (Korthikanti et al., arXiv 2205.05198, section 4.2.2), so that they are made again as well.
 */
function againOf({ problem, grid }: StageContext): readonly CheapTensor[] {
  const again = madeAgain(problem);
  return grid.tensor === 1 ? again : cheapTensors.filter((name) => name !== "m" || again.includes(name));
}

function seatsOf(
  { problem, strategy, degrees, layout, grid, placement }: StageContext,
  stage: "layerForward" | "layerBackward",
  attention: SplicedAttention,
  again: readonly CheapTensor[],
): { seats: LayerSeat[]; builder: ScheduleBuilder } {
  const ahead = isPrefetched({ problem, placement });
  const tensors = [
    ...(ahead ? nextTensors(problem) : []),
    ...stageTensors(problem, stage, again).map((spec) => attention.adapted(spec)),
    ...attention.ownTensors.map((spec) => ({ ...spec, role: "internal" as const })),
  ];
  const equations = [...equationsOf(stage, again), ...(ahead ? nextEquations() : [])];
  const own = attentionProblemOf(problem, stage === "layerForward" ? "forward" : "backward");
  const builder = new ScheduleBuilder(own, strategy, degrees, layout, tensors, equations);
  const shards = new WeightShards(builder, { model: problem.model, grid, placement });
  const seats = layout.map((_, rank) => new LayerSeat(builder, shards, attention, grid, rank));
  return { seats, builder };
}

/** x -> q, k, v */
function project(seat: LayerSeat): void {
  seat.compute("rmsNorm", (at) => [at("x"), seat.weight("g1"), at("n1")]);
  seat.gatherRows("n1");
  for (const name of ["q", "k"] as const) {
    seat.computeLane("linear", (at) => [at("n1"), seat.weight(`w${name}`), at(`${name}0`)]);
    seat.computePieces("rotary", [name], (at, heads) => [at(`${name}0`, heads), at(name, heads)]);
  }
  seat.computePieces("linear", ["v"], (at, heads) => [at("n1"), seat.weight("wv", { heads }), at("v", heads)]);
}

/** x, o -> y */
function finish(seat: LayerSeat, headDim: number): void {
  seat.compute("add", (at) => [at("x"), at("h")]);
  seat.computePieces("linear", ["o"], (at, heads, sum) => {
    const rows = rowsOfHeads(heads, headDim);
    return [at("o", heads), seat.weight("wo", { rows }), sum("h")];
  });
  seat.scatterSum("h");
  seat.compute("rmsNorm", (at) => [at("h"), seat.weight("g2"), at("n2")]);
  seat.gatherRows("n2");
  seat.computeLane("linear", (at) => [at("n2"), seat.weight("wg"), at("gate")]);
  seat.computeLane("linear", (at) => [at("n2"), seat.weight("wu"), at("up")]);
  seat.computeLane("swiglu", (at) => [at("gate"), at("up"), at("m")]);
  seat.compute("add", (at) => [at("h"), at("y")]);
  seat.computeLane("linear", (at, sum) => [at("m"), seat.weight("wd"), sum("y")]);
  seat.scatterSum("y");
}

/** dy -> dh, do, delta and the gradients of the weights behind attention. */
function unfinish(seat: LayerSeat, again: readonly CheapTensor[], headDim: number): void {
  seat.gatherRows("dy");
  if (again.includes("m")) seat.computeLane("swiglu", (at) => [at("gate"), at("up"), at("m")]);
  seat.computeLane("linearInputGradient", (at) => [at("dy"), seat.weight("wd"), at("dm")]);
  seat.computeLane("linearWeightGradient", (at) => [at("m"), at("dy"), seat.share("wd")]);
  seat.computeLane("swigluGradient", (at) => ["gate", "up", "dm", "dgate", "dup"].map((name) => at(name)));
  if (again.includes("n2")) seat.compute("rmsNorm", (at) => [at("h"), seat.weight("g2"), at("n2")]);
  seat.gatherRows("n2");
  seat.computeLane("linearWeightGradient", (at) => [at("n2"), at("dgate"), seat.share("wg")]);
  seat.computeLane("linearWeightGradient", (at) => [at("n2"), at("dup"), seat.share("wu")]);
  seat.computeLane("linearInputGradient", (at, sum) => [at("dgate"), seat.weight("wg"), sum("dn2")]);
  seat.computeLane("linearInputGradient", (at, sum) => [at("dup"), seat.weight("wu"), sum("dn2")]);
  seat.scatterSum("dn2");
  seat.compute("add", (at) => [at("dy"), at("dh")]);
  seat.compute("rmsNormGradient", (at) => [at("h"), seat.weight("g2"), at("dn2"), at("dh"), seat.share("g2")]);
  seat.gatherRows("dh");
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
function handOverDelta({ program, attention, rank }: LayerSeat): void {
  if (!attention.isResident("delta")) return;
  const pieces = (owner: number, taker: number) =>
    attention
      .residentBlocks(taker, "delta")
      .flatMap((wanted) =>
        attention.shard(owner).map((tokens) => ({
          ...wanted,
          tokenBegin: Math.max(wanted.tokenBegin, tokens.begin),
          tokenEnd: Math.min(wanted.tokenEnd, tokens.end),
        })),
      )
      .filter(({ tokenBegin, tokenEnd }) => tokenBegin < tokenEnd);
  program.exchange(
    "allToAll",
    attention
      .laneOf(rank)
      .filter((other) => other !== rank)
      .flatMap((other) => [
        { to: other, blocks: pieces(rank, other) },
        { from: other, blocks: pieces(other, rank) },
      ]),
  );
}

/** dq, dk, dv, dh -> dx and the gradients of the weights before attention. */
function unproject(seat: LayerSeat, again: readonly CheapTensor[]): void {
  if (again.includes("n1")) seat.compute("rmsNorm", (at) => [at("x"), seat.weight("g1"), at("n1")]);
  seat.gatherRows("n1");
  for (const name of ["q", "k"] as const) {
    seat.computePieces("rotaryGradient", [`d${name}`], (at, heads) => [at(`d${name}`, heads), at(`d${name}0`, heads)]);
    seat.computeLane("linearWeightGradient", (at) => [at("n1"), at(`d${name}0`), seat.share(`w${name}`)]);
    seat.computeLane("linearInputGradient", (at, sum) => [at(`d${name}0`), seat.weight(`w${name}`), sum("dn1")]);
  }
  seat.computePieces("linearWeightGradient", ["dv"], (at, heads) => [
    ...[at("n1"), at("dv", heads), seat.share("wv", { heads })],
  ]);
  seat.computePieces("linearInputGradient", ["dv"], (at, heads, sum) => [
    ...[at("dv", heads), seat.weight("wv", { heads }), sum("dn1")],
  ]);
  seat.scatterSum("dn1");
  seat.compute("add", (at) => [at("dh"), at("dx")]);
  seat.compute("rmsNormGradient", (at) => [at("x"), seat.weight("g1"), at("dn1"), at("dx"), seat.share("g1")]);
}

/** Rows of `wo` that belong to some heads. */
const rowsOfHeads = ([begin, end]: HeadRange, headDim: number): HeadRange => [begin * headDim, end * headDim];
