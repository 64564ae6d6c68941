import { type BestStep, formatDegrees, predictedStepOf } from "@hsap/bench";
import { stringify } from "csv-stringify/sync";

/** The best steps as CSV: what the figure shows, and what was refused. Times are simulated, memory is counted, in bytes. */
export function sweepTable(steps: readonly BestStep[]): string {
  const kinds = new Set(steps.flatMap(({ best }) => Object.keys(predictedStepOf(best)?.memory ?? {})));
  return stringify(
    steps.map((step) => rowOf(step, [...kinds])),
    { header: true },
  );
}

function rowOf({ best, own, ...step }: BestStep, kinds: readonly string[]) {
  const { cluster, device, model, mix, seed, ranks, tokens, documents, strategy } = step;
  const predicted = predictedStepOf(best);
  const ownStep = own && predictedStepOf(own);
  const { memory } = predicted ?? {};
  return {
    ...{
      cluster,
      device: device.name,
      memoryGiB: device.memoryGiB,
      model,
      mix,
      seed,
      ranks,
      tokens,
      documents,
      strategy,
    },
    weights: best.weights,
    degrees: predicted && formatDegrees(predicted.degrees),
    recompute: predicted?.recompute,
    outcome: best.outcome.kind,
    stepMs: predicted?.stepMs,
    tokensPerSecond: predicted?.tokensPerSecond,
    tflopsPerDevice: predicted?.tflopsPerDevice,
    mfu: predicted?.mfu,
    ...Object.fromEntries(kinds.map((kind) => [`${kind}Bytes`, memory?.[kind]])),
    ownDegrees: ownStep && formatDegrees(ownStep.degrees),
    ownOutcome: own?.outcome.kind,
    ownTokensPerSecond: ownStep?.tokensPerSecond,
    reason: best.outcome.kind === "refused" ? best.outcome.reason : undefined,
  };
}
