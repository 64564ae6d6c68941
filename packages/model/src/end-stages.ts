import { ScheduleBuilder, type TokenRange } from "@hsap/schedule";
import type { StageContext, StepSchedules } from "./layer-strategy.ts";
import { attentionProblemOf } from "./model-problem.ts";
import { gradientOf, type StageName, stageEquations, stageTensors, stageWeights } from "./stage.ts";
import { type WeightPlacement, WeightShards } from "./weight-shards.ts";

/**
 * The stages at both ends of a model: each rank embeds its own tokens, and computes the loss of its own tokens, a chunk of logits at a
 * time. The loss stage is forward and backward pass of the head in one.
 */
export function endStages(
  context: StageContext,
  placement: WeightPlacement,
): Pick<StepSchedules, "embedding" | "loss" | "embeddingBackward"> {
  return {
    embedding: endStage(context, placement, "embedding"),
    loss: endStage(context, placement, "loss"),
    embeddingBackward: endStage(context, placement, "embeddingBackward"),
  };
}

function endStage(context: StageContext, placement: WeightPlacement, stage: StageName) {
  const { problem, strategy, degrees, layout } = context;
  const attention = attentionProblemOf(problem, "forward");
  const tensors = stageTensors(problem, stage);
  const builder = new ScheduleBuilder(attention, strategy, degrees, layout, tensors, stageEquations[stage]);
  const contributors = layout.flatMap((owned, rank) => (owned.length > 0 ? [rank] : []));
  const shards = new WeightShards(builder, placement, contributors, layout.length);
  const { reads, gradients } = stageWeights[stage];
  layout.forEach((owned, rank) => {
    shards.gather(rank, reads);
    for (const range of owned) writeEnd(builder, shards, rank, range, stage, problem.lossChunk);
    shards.reduce(rank, gradients);
  });
  return builder.finish();
}

function writeEnd(
  builder: ScheduleBuilder,
  shards: WeightShards,
  rank: number,
  range: TokenRange,
  stage: StageName,
  chunk: number,
): void {
  const program = builder.rank(rank);
  const at = (name: string, tokens: TokenRange = range) => builder.block(name, tokens);
  const share = (weight: string) => shards.whole(gradientOf(weight), 1 + rank);
  if (stage === "embedding") program.compute("embed", [at("ids"), shards.whole("e"), at("x")]);
  else if (stage === "embeddingBackward") program.compute("embedGradient", [at("ids"), at("dx"), share("e")]);
  else {
    const [gain, head] = [shards.whole("gf"), shards.whole("head")];
    program.compute("rmsNorm", [at("x"), gain, at("n")]);
    for (let begin = range.begin; begin < range.end; begin += chunk) {
      const tokens = { begin, end: Math.min(range.end, begin + chunk) };
      const logits = at("logits", tokens);
      const dlogits = at("dlogits", tokens);
      program.compute("linear", [at("n", tokens), head, logits]);
      program.compute("crossEntropy", [logits, at("labels", tokens), at("loss", tokens), dlogits]);
      program.compute("linearInputGradient", [dlogits, head, at("dn", tokens)]);
      program.compute("linearWeightGradient", [at("n", tokens), dlogits, share("head")]);
    }
    program.compute("rmsNormGradient", [at("x"), gain, at("dn"), at("dx"), share("gf")]);
  }
}
