import { clusterOf } from "@hsap/cluster";
import { encodeProgram } from "@hsap/engine";
import { modelNamed } from "@hsap/model";
import { lower } from "@hsap/schedule";
import { layerStrategyNamed, layerStrategyNames } from "@hsap/training";
import { packedBatch } from "@hsap/workload";
import { runPrograms, supported } from "./native-programs.mjs";

/** So small that a run of a stage takes no longer than its threads take to start. */
const small = { model: { ...modelNamed("tiny"), layers: 1 }, lengths: [37, 5, 1, 40, 7], lossChunk: 24 };
/** Large enough for several threads to share every op. */
const shared = {
  model: {
    ...modelNamed("tiny"),
    layers: 1,
    hidden: 256,
    heads: 8,
    kvHeads: 4,
    headDim: 32,
    ffn: 768,
    vocabulary: 1024,
  },
  lengths: [700, 1, 260, 439],
  lossChunk: 700,
};

/**
 * Runs the stages of training steps of every strategy for layers by the native program built in `build`, without Node, as
 * `strategyPrograms` does those of attention.
 */
export function stagePrograms(root, build) {
  return runPrograms(root, build, { folder: "stages", runner: "hsap_run_stages" }, programs());
}

function* programs() {
  for (const name of layerStrategyNames) {
    const strategy = layerStrategyNamed(name);
    const plain = problemOf(small, 4, { dtype: "fp32" });
    yield* stagesOf(strategy, plain, [strategy.defaultDegrees(plain)]);
    const beside = problemOf(small, 4, { dtype: "bf16", overlap: true, prefetch: true });
    yield* stagesOf(strategy, beside, strategy.candidateDegrees(beside));
  }
  for (const [name, ranks, dtype] of [
    ["reference", 1, "fp32"],
    ["hsap", 2, "bf16"],
  ]) {
    const [strategy, problem] = [layerStrategyNamed(name), problemOf(shared, ranks, { dtype })];
    yield* stagesOf(strategy, problem, [strategy.defaultDegrees(problem)]);
  }
}

function problemOf({ model, lengths, lossChunk }, ranks, options) {
  const cluster = clusterOf({ ranks, ranksPerNode: ranks });
  return { model, batch: packedBatch(lengths), cluster, lossChunk, ...options };
}

/** The stages of a strategy's steps at the given degrees, but for what it does not support. */
function* stagesOf(strategy, problem, offered) {
  const { dtype, model, cluster } = problem;
  for (const degrees of offered) {
    for (const schedules of supported(() => strategy.compile(problem, degrees))) {
      for (const stage of Object.keys(schedules)) {
        const name = [
          strategy.name,
          `${cluster.ranks}ranks`,
          ...Object.entries(degrees).flat(),
          dtype,
          model.hidden,
          stage,
        ];
        // A stage is made when it is first read.
        for (const schedule of supported(() => schedules[stage]))
          yield { name: name.join("-"), program: encodeProgram(schedule.problem, lower(schedule)) };
      }
    }
  }
}
