import { type BestStep, bestSteps, type ModelTrial, predictedStepOf } from "@hsap/bench";
import { InputError } from "@hsap/workload";
import type { Figure } from "../figure.ts";
import { drawModelSteps, type ModelStepsRow, type PublishedRate } from "../model-steps/figure.ts";
import { inOrder } from "../model-steps/strategy-colour.ts";
import { sweepTable } from "../model-sweep/table.ts";

export interface ModelLengthsInput {
  /** Steps of documents of one length each, all of one model, cluster and number of ranks. */
  readonly trials: readonly ModelTrial[];
  /** Drawn beside the simulated rates; none where left out. */
  readonly published?: readonly PublishedRate[] | undefined;
}

/**
 * Figure 9: rate and memory of each strategy by the length of a document, at the best of the degrees that were tried.
 *
 * @throws InputError if there are no trials, or all strategies refused all of them.
 */
export function drawModelLengths({ trials, published }: ModelLengthsInput): Figure {
  const steps = bestSteps(trials);
  const [first] = steps;
  if (first === undefined) throw new InputError("invalid steps: there are none to draw");
  const { model, ranks, cluster, device } = first;
  const strategies = inOrder([...new Set(steps.map(({ strategy }) => strategy))]);
  const svg = drawModelSteps({
    title: `${model} on ${ranks} ranks of ${cluster} (${device.name})`,
    documents: "Documents of one length.",
    axis: "tokens of a document",
    deviceGiB: device.memoryGiB,
    rows: strategies.flatMap((name) => steps.filter(({ strategy }) => strategy === name).flatMap(rowsOf)),
    published,
  });
  return { number: 9, name: "lengths", svg, data: { ending: "csv", text: sweepTable(steps) } };
}

/** Nothing where a strategy refused the step. */
function rowsOf({ best, strategy, tokens, documents }: BestStep): ModelStepsRow[] {
  const step = predictedStepOf(best);
  if (step === undefined) return [];
  const { tflopsPerDevice, memory } = step;
  const fits = best.outcome.kind === "fits";
  return [{ tokens: tokens / documents, strategy, step: { tflopsPerDevice, memoryBytes: memory.total, fits } }];
}
