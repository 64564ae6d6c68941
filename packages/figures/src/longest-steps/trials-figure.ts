import { formatDegrees, type LongestTrial } from "@hsap/bench";
import { InputError } from "@hsap/workload";
import { stringify } from "csv-stringify/sync";
import type { Figure } from "../figure.ts";
import { drawLongestSteps, type LongestStepsRow } from "./figure.ts";

export interface LongestTrialsInput {
  readonly trials: readonly LongestTrial[];
}

/**
 * Figure 10: the longest steps of a sweep, with their numbers beside it.
 *
 * @throws InputError if there is nothing that fits.
 */
export function drawLongestTrials({ trials }: LongestTrialsInput): Figure {
  if (trials.length === 0) throw new InputError("invalid steps: there are none to draw");
  return {
    ...{ number: 10, name: "longest" },
    svg: drawLongestSteps({ documents: "A step is one sequence.", rows: trials.flatMap(rowsOf) }),
    data: { ending: "csv", text: stringify(trials.map(tableRow), { header: true }) },
  };
}

/** Nothing where the strategy refused. */
function rowsOf({ device, model, ranks, strategy, weights, recompute, outcome }: LongestTrial): LongestStepsRow[] {
  if (outcome.kind === "refused") return [];
  const tokens = outcome.kind === "fits" ? outcome.tokens : 0;
  const { name, memoryGiB } = device;
  return [{ device: name, memoryGiB, model, ranks, strategy, weights, recompute, tokens }];
}

const memoryKinds = ["weights", "gradients", "optimiser", "activations", "working", "total"] as const;

function tableRow({ cluster, device, outcome, ...trial }: LongestTrial) {
  const { model, ranks, strategy, weights, recompute } = trial;
  const found = outcome.kind === "fits" ? outcome : undefined;
  const next = outcome.kind === "refused" ? undefined : outcome.next;
  return {
    ...{ cluster: cluster.split(" ")[0], device: device.name, memoryGiB: device.memoryGiB, model, ranks },
    ...{ strategy, weights, recompute, outcome: outcome.kind },
    degrees: outcome.kind === "refused" ? undefined : formatDegrees(outcome.degrees),
    tokens: found?.tokens,
    tokensPerRank: found && found.tokens / ranks,
    ...Object.fromEntries(memoryKinds.map((kind) => [`${kind}Bytes`, found?.memory[kind]])),
    nextTotalBytes: next?.total,
    reason: outcome.kind === "refused" ? outcome.reason : undefined,
  };
}
