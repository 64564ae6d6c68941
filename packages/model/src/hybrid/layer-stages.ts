import { ranksPerNode } from "@hsap/cluster";
import { type Block, type LayerOpKind, type Schedule, ScheduleBuilder, type TokenRange } from "@hsap/schedule";
import type { StageContext } from "../layer-strategy.ts";
import { attentionProblemOf } from "../model-problem.ts";
import { isPrefetched, nextEquations, nextTensors } from "../prefetch.ts";
import { type CheapTensor, cheapTensors, madeAgain } from "../recomputation.ts";
import type { HeadRange, SplicedAttention } from "../spliced-attention.ts";
import { equationsOf, layerWeights, savedTensors, stageTensors, type WeightName } from "../stage.ts";
import { WeightShards } from "../weight-shards.ts";
import { LayerSeat } from "./layer-seat.ts";
import type { At } from "./tensor-seat.ts";

/** The weights of a layer by the side of attention on which they are used: in a backward pass the others come first. */
const beforeAttention = ["g1", "wq", "wk", "wv"] as const;
const projections: readonly WeightName[] = ["wq", "wk", "wv"];
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
    // Where weights are fetched ahead, the gradients of these leave as early, too.
    const early = ahead ? projections : [];
    unproject(seat, again, early);
    seat.shards.sum(seat.rank, [...behindAttention, ...early]);
    seat.shards.reduce(
      seat.rank,
      beforeAttention.filter((weight) => !early.includes(weight)),
    );
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
  // Pieces go from one rank to another each, which is slow over links between nodes.
  const overlap = problem.overlap === true && grid.tensor <= ranksPerNode(problem.cluster);
  const seats = layout.map((_, rank) => new LayerSeat(builder, shards, attention, grid, rank, overlap));
  return { seats, builder };
}

/** x -> q, k, v */
function project(seat: LayerSeat): void {
  seat.compute("rmsNorm", (at) => [at("x"), seat.weight("g1"), at("n1")]);
  seat.aroundLane({ gather: "n1" }, (lane) => {
    for (const name of ["q", "k"] as const) {
      seat.computeLane("linear", (at) => [at("n1"), seat.weight(`w${name}`), at(`${name}0`)], lane);
      seat.computePieces("rotary", [name], (at, heads) => [at(`${name}0`, heads), at(name, heads)], lane);
    }
    seat.computePieces("linear", ["v"], (at, heads) => [at("n1"), seat.weight("wv", { heads }), at("v", heads)], lane);
  });
}

/** x, o -> y */
function finish(seat: LayerSeat, headDim: number): void {
  seat.compute("add", (at) => [at("x"), at("h")]);
  seat.aroundLane({ scatter: "h" }, (lane) => {
    const outputs = (at: At, heads: HeadRange, sum: At) => {
      const rows = rowsOfHeads(heads, headDim);
      return [at("o", heads), seat.weight("wo", { rows }), sum("h")];
    };
    seat.computePieces("linear", ["o"], outputs, lane);
  });
  seat.compute("rmsNorm", (at) => [at("h"), seat.weight("g2"), at("n2")]);
  seat.aroundLane({ gather: "n2" }, (lane) => {
    seat.computeLane("linear", (at) => [at("n2"), seat.weight("wg"), at("gate")], lane);
    seat.computeLane("linear", (at) => [at("n2"), seat.weight("wu"), at("up")], lane);
    seat.computeLane("swiglu", (at) => [at("gate"), at("up"), at("m")], lane);
  });
  seat.compute("add", (at) => [at("h"), at("y")]);
  seat.aroundLane({ scatter: "y" }, (lane) => {
    seat.computeLane("linear", (at, sum) => [at("m"), seat.weight("wd"), sum("y")], lane);
  });
}

/** dy -> dh, do, delta and the gradients of the weights behind attention. */
function unfinish(seat: LayerSeat, again: readonly CheapTensor[], headDim: number): void {
  seat.aroundLane({ gather: "dy" }, (lane) => {
    if (again.includes("m")) seat.computeLane("swiglu", (at) => [at("gate"), at("up"), at("m")], lane);
    seat.computeLane("linearInputGradient", (at) => [at("dy"), seat.weight("wd"), at("dm")], lane);
    seat.computeLane("linearWeightGradient", (at) => [at("m"), at("dy"), seat.share("wd")], lane);
    seat.computeLane("swigluGradient", (at) => ["gate", "up", "dm", "dgate", "dup"].map((name) => at(name)), lane);
  });
  if (again.includes("n2")) seat.compute("rmsNorm", (at) => [at("h"), seat.weight("g2"), at("n2")]);
  seat.aroundLane({ gather: "n2", scatter: "dn2" }, (lane) => {
    seat.computeLane("linearWeightGradient", (at) => [at("n2"), at("dgate"), seat.share("wg")], lane);
    seat.computeLane("linearWeightGradient", (at) => [at("n2"), at("dup"), seat.share("wu")], lane);
    seat.computeLane("linearInputGradient", (at, sum) => [at("dgate"), seat.weight("wg"), sum("dn2")], lane);
    seat.computeLane("linearInputGradient", (at, sum) => [at("dup"), seat.weight("wu"), sum("dn2")], lane);
  });
  seat.compute("add", (at) => [at("dy"), at("dh")]);
  seat.compute("rmsNormGradient", (at) => [at("h"), seat.weight("g2"), at("dn2"), at("dh"), seat.share("g2")]);
  const rows = (heads: HeadRange) => ({ rows: rowsOfHeads(heads, headDim) });
  seat.aroundLane({ gather: "dh" }, (lane) => {
    const each = (kind: LayerOpKind, blocksOf: (at: At, heads: HeadRange) => readonly Block[]) => {
      seat.computePieces(kind, ["do", "delta"], blocksOf, lane);
    };
    each("linearInputGradient", (at, heads) => [at("dh"), seat.weight("wo", rows(heads)), at("do", heads)]);
    each("linearWeightGradient", (at, heads) => [at("o", heads), at("dh"), seat.share("wo", rows(heads))]);
    each("rowDot", (at, heads) => [at("o", heads), at("do", heads), at("delta", heads)]);
  });
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

/**
 * dq, dk, dv, dh -> dx and the gradients of the weights before attention. Those of `early` are all computed before any gradient of rows, and
 * on their way beside these.
 */
function unproject(seat: LayerSeat, again: readonly CheapTensor[], early: readonly WeightName[]): void {
  if (again.includes("n1")) seat.compute("rmsNorm", (at) => [at("x"), seat.weight("g1"), at("n1")]);
  const names = ["q", "k", "v"] as const;
  if (early.length === 0) {
    seat.aroundLane({ gather: "n1", scatter: "dn1" }, (lane) => {
      for (const name of names) {
        weightGradient(seat, name, lane);
        rowGradient(seat, name, lane);
      }
    });
  } else {
    seat.aroundLane({ gather: "n1" }, (lane) => {
      for (const name of names) weightGradient(seat, name, lane);
    });
    seat.shards.scatter(seat.rank, early);
    seat.aroundLane({ scatter: "dn1" }, (lane) => {
      for (const name of names) rowGradient(seat, name, lane);
    });
  }
  seat.compute("add", (at) => [at("dh"), at("dx")]);
  seat.compute("rmsNormGradient", (at) => [at("x"), seat.weight("g1"), at("dn1"), at("dx"), seat.share("g1")]);
}

/** n1, dq -> dwq, and for the others alike: of what attention has turned by positions, turned back. */
function weightGradient(seat: LayerSeat, name: "q" | "k" | "v", lane: readonly TokenRange[]): void {
  if (name === "v") {
    const blocksOf = (at: At, heads: HeadRange) => [at("n1"), at("dv", heads), seat.share("wv", { heads })];
    seat.computePieces("linearWeightGradient", ["dv"], blocksOf, lane);
    return;
  }
  const turned = (at: At, heads: HeadRange) => [at(`d${name}`, heads), at(`d${name}0`, heads)];
  seat.computePieces("rotaryGradient", [`d${name}`], turned, lane);
  seat.computeLane("linearWeightGradient", (at) => [at("n1"), at(`d${name}0`), seat.share(`w${name}`)], lane);
}

/** dq -> its term of dn1, and for the others alike. */
function rowGradient(seat: LayerSeat, name: "q" | "k" | "v", lane: readonly TokenRange[]): void {
  if (name === "v") {
    const blocksOf = (at: At, heads: HeadRange, sum: At) => [at("dv", heads), seat.weight("wv", { heads }), sum("dn1")];
    seat.computePieces("linearInputGradient", ["dv"], blocksOf, lane);
    return;
  }
  seat.computeLane("linearInputGradient", (at, sum) => [at(`d${name}0`), seat.weight(`w${name}`), sum("dn1")], lane);
}

/** Rows of `wo` that belong to some heads. */
const rowsOfHeads = ([begin, end]: HeadRange, headDim: number): HeadRange => [begin * headDim, end * headDim];
