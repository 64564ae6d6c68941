import type { Recomputation } from "@hsap/model";
import { InputError } from "@hsap/workload";
import { type SimulatedStep, simulatedStep } from "../model/simulated-step.ts";
import { type ModelTrial, modelTrialVersion } from "./model-trial.ts";
import type { PlannedStep } from "./planned-steps.ts";

/** Predicts a step; that it does not fit, or that the strategy cannot split the model so, is a result. */
export function predictedTrial({ problem, strategy, inputs, key }: PlannedStep, environment: string): ModelTrial {
  const { name, memoryGiB = 0, peakTflops } = problem.cluster.device;
  return {
    ...inputs,
    ...{ schema: modelTrialVersion, key, environment },
    at: new Date().toISOString(),
    origin: "simulated",
    device: { name, memoryGiB, peakTflops },
    outcome: outcomeOf({ problem, strategy, inputs }),
  };
}

function outcomeOf({
  problem,
  strategy,
  inputs,
}: Pick<PlannedStep, "problem" | "strategy" | "inputs">): ModelTrial["outcome"] {
  try {
    const degrees = inputs.degrees === "own" ? undefined : inputs.degrees;
    let last: { step: SimulatedStep; recompute: Recomputation } | undefined;
    for (const recompute of inputs.recompute) {
      last = { step: simulatedStep({ ...problem, recompute }, strategy, { degrees }), recompute };
      if (last.step.fits) break;
    }
    if (last === undefined) throw new InputError("invalid recompute: none is given");
    const { strategy: _, fits, memory, ...step } = last.step;
    return {
      kind: fits ? "fits" : "out of memory",
      recompute: last.recompute,
      ...step,
      degrees: { ...step.degrees },
      memory: { ...memory },
    };
  } catch (error) {
    if (error instanceof InputError && /^(invalid degree|unsupported )/.test(error.message))
      return { kind: "refused", reason: error.message };
    throw error;
  }
}
