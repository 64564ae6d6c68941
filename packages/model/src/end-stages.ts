import { type Block, type LayerOpKind, type Schedule, ScheduleBuilder, type TokenRange } from "@hsap/schedule";
import { type At, TensorSeat } from "./hybrid/tensor-seat.ts";
import type { StageContext, StageMakers } from "./layer-strategy.ts";
import { attentionProblemOf } from "./model-problem.ts";
import { equationsOf, type StageName, stageTensors, stageWeights } from "./stage.ts";
import { WeightShards } from "./weight-shards.ts";

/**
 * The stages at both ends of a model: embedding, and the loss, a chunk of logits at a time, which is forward and backward pass of the head in
 * one. Tensor ranks have a share of the vocabulary each: rows of the embedding, whose sums are added up, and columns of the logits.
 */
export function endStages(context: StageContext): Pick<StageMakers, "embedding" | "loss" | "embeddingBackward"> {
  return {
    embedding: () =>
      endStage(context, "embedding", (seat) => {
        seat.computeLane("embed", (at, sum) => [at("ids"), seat.weight("e"), sum("x")]);
        seat.scatterSum("x");
      }),
    loss: () =>
      endStage(context, "loss", (seat) => {
        writeLoss(seat, context.problem.lossChunk);
      }),
    embeddingBackward: () =>
      endStage(context, "embeddingBackward", (seat) => {
        seat.gatherRows("dx");
        seat.computeLane("embedGradient", (at) => [at("ids"), at("dx"), seat.share("e")]);
      }),
  };
}

function endStage(context: StageContext, stage: StageName, write: (seat: TensorSeat) => void): Schedule {
  const { problem, strategy, degrees, layout, grid, placement } = context;
  const attention = attentionProblemOf(problem, "forward");
  const tensors = stageTensors(problem, stage, [], grid.tensor);
  const equations = equationsOf(stage, [], grid.tensor);
  const builder = new ScheduleBuilder(attention, strategy, degrees, layout, tensors, equations);
  const shards = new WeightShards(builder, { model: problem.model, grid, placement });
  const { reads, gradients } = stageWeights[stage];
  layout.forEach((_, rank) => {
    const seat = new TensorSeat(builder, shards, grid, rank);
    // The text of a lane's tokens lies with all of its tensor ranks.
    for (const name of ["ids", "labels"])
      if (seat.isSplit && tensors.some((spec) => spec.name === name))
        seat.program.hold(...seat.laneTokens.map((tokens) => builder.block(name, tokens)));
    shards.gather(rank, reads);
    write(seat);
    shards.reduce(rank, gradients);
  });
  return builder.finish();
}

function writeLoss(seat: TensorSeat, chunk: number): void {
  seat.compute("rmsNorm", (at) => [at("x"), seat.weight("gf"), at("n")]);
  seat.gatherRows("n");
  for (const tokens of chunksOf(seat.laneTokens, chunk)) {
    const each = (kind: LayerOpKind, blocksOf: (at: At, sum: At) => readonly Block[]) => {
      seat.computeLane(kind, blocksOf, tokens);
    };
    each("linear", (at) => [at("n"), seat.weight("head"), at("logits")]);
    if (seat.isSplit) {
      const { tensor } = seat.grid;
      each("rowLogSumExp", (at) => [at("logits"), at("z")]);
      seat.gatherColumns("z", tokens);
      each("splitCrossEntropy", (at, sum) => [
        ...[at("logits"), at("labels"), at("z", [0, tensor]), sum("loss"), at("dlogits")],
      ]);
    } else each("crossEntropy", (at) => ["logits", "labels", "loss", "dlogits"].map((name) => at(name)));
    each("linearInputGradient", (at, sum) => [at("dlogits"), seat.weight("head"), sum("dn")]);
    each("linearWeightGradient", (at) => [at("n"), at("dlogits"), seat.share("head")]);
  }
  seat.scatterSum("loss");
  seat.scatterSum("dn");
  seat.compute("rmsNormGradient", (at) => [at("x"), seat.weight("gf"), at("dn"), at("dx"), seat.share("gf")]);
}

/** Ranges in groups of at most so many tokens; a range that holds more is cut. */
function chunksOf(ranges: readonly TokenRange[], tokens: number): TokenRange[][] {
  const chunks: TokenRange[][] = [];
  let left = 0;
  for (let { begin, end } of ranges) {
    while (begin < end) {
      if (left === 0) {
        chunks.push([]);
        left = tokens;
      }
      const cut = Math.min(end, begin + left);
      chunks[chunks.length - 1].push({ begin, end: cut });
      left -= cut - begin;
      begin = cut;
    }
  }
  return chunks;
}
