import type { Recomputation } from "@hsap/model";
import { InputError } from "@hsap/workload";
import type { KnownSteps } from "../model/known-steps.ts";
import { fittingStep, type SimulatedStep, simulatedStep } from "../model/simulated-step.ts";
import { type ModelTrial, modelTrialVersion } from "./model-trial.ts";
import type { PlannedStep } from "./planned-steps.ts";

/**
 * Predicts a step; that it does not fit, or that the strategy cannot split the model so, is a result. `known` is what was worked out for the
 * same model, batch and cluster before.
 */
export function predictedTrial(planned: PlannedStep, environment: string, known?: KnownSteps): ModelTrial {
  const { problem, inputs, key } = planned;
  const { name, memoryGiB = 0, peakTflops } = problem.cluster.device;
  return {
    ...inputs,
    ...{ schema: modelTrialVersion, key, environment },
    at: new Date().toISOString(),
    origin: "simulated",
    device: { name, memoryGiB, peakTflops },
    outcome: outcomeOf(planned, known),
  };
}

function outcomeOf({ problem, strategy, inputs }: PlannedStep, known: KnownSteps | undefined): ModelTrial["outcome"] {
  try {
    const degrees = inputs.degrees === "own" ? undefined : inputs.degrees;
    let last: { step: SimulatedStep; recompute: Recomputation } | undefined;
    for (const recompute of inputs.recompute) {
      const isLast = recompute === inputs.recompute[inputs.recompute.length - 1];
      const predict = isLast ? simulatedStep : fittingStep;
      const step = predict({ ...problem, recompute }, strategy, { degrees, known });
      if (step === undefined) continue;
      last = { step, recompute };
      break;
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
