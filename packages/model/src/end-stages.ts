import { ScheduleBuilder, type TokenRange } from "@hsap/schedule";
import type { StageContext, StepSchedules } from "./layer-strategy.ts";
import { attentionProblemOf } from "./model-problem.ts";
import { equationsOf, type StageName, stageTensors, stageWeights, type WeightName } from "./stage.ts";
import { WeightShards } from "./weight-shards.ts";

/**
 * The stages at both ends of a model: each rank embeds its own tokens, and computes the loss of its own tokens, a chunk of logits at a
 * time. The loss stage is forward and backward pass of the head in one.
 */
export function endStages(context: StageContext): Pick<StepSchedules, "embedding" | "loss" | "embeddingBackward"> {
  return {
    embedding: endStage(context, "embedding"),
    loss: endStage(context, "loss"),
    embeddingBackward: endStage(context, "embeddingBackward"),
  };
}

function endStage(context: StageContext, stage: StageName) {
  const { problem, strategy, degrees, layout, grid, placement } = context;
  const attention = attentionProblemOf(problem, "forward");
  const tensors = stageTensors(problem, stage);
  const builder = new ScheduleBuilder(attention, strategy, degrees, layout, tensors, equationsOf(stage, []));
  const shards = new WeightShards(builder, { model: problem.model, grid, placement });
  const { reads, gradients } = stageWeights[stage];
  layout.forEach((owned, rank) => {
    shards.gather(rank, reads);
    const at = (name: string, tokens: TokenRange) => builder.block(name, tokens);
    if (stage === "loss") writeLoss(builder, shards, rank, owned, problem.lossChunk);
    for (const tokens of owned) {
      if (stage === "embedding")
        builder.rank(rank).compute("embed", [at("ids", tokens), shards.of(rank, "e"), at("x", tokens)]);
      if (stage === "embeddingBackward")
        builder.rank(rank).compute("embedGradient", [at("ids", tokens), at("dx", tokens), shards.shareOf(rank, "e")]);
    }
    shards.reduce(rank, gradients);
  });
  return builder.finish();
}

function writeLoss(
  builder: ScheduleBuilder,
  shards: WeightShards,
  rank: number,
  owned: readonly TokenRange[],
  chunk: number,
): void {
  const program = builder.rank(rank);
  const at = (name: string, tokens: TokenRange) => builder.block(name, tokens);
  const share = (weight: WeightName) => shards.shareOf(rank, weight);
  const [gain, head] = [shards.of(rank, "gf"), shards.of(rank, "head")];
  for (const tokens of owned) program.compute("rmsNorm", [at("x", tokens), gain, at("n", tokens)]);
  for (const ranges of chunksOf(owned, chunk)) {
    for (const tokens of ranges) program.compute("linear", [at("n", tokens), head, at("logits", tokens)]);
    for (const tokens of ranges) {
      const loss = ["logits", "labels", "loss", "dlogits"].map((name) => at(name, tokens));
      program.compute("crossEntropy", loss);
    }
    for (const tokens of ranges)
      program.compute("linearInputGradient", [at("dlogits", tokens), head, at("dn", tokens)]);
    for (const tokens of ranges)
      program.compute("linearWeightGradient", [at("n", tokens), at("dlogits", tokens), share("head")]);
  }
  for (const tokens of owned)
    program.compute("rmsNormGradient", [at("x", tokens), gain, at("dn", tokens), at("dx", tokens), share("gf")]);
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
