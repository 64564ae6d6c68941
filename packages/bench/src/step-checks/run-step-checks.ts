import { engineInfo } from "@hsap/engine";
import type { WeightPlacement } from "@hsap/model";
import type { Degrees } from "@hsap/schedule";
import {
  allowedErrors,
  batchOf,
  type ExpectedStep,
  expectedFirstStep,
  firstStepErrors,
  stepProblem,
  type TrainingOptions,
} from "@hsap/training";
import { documentsOf, InputError } from "@hsap/workload";
import { currentEnvironment } from "../results/environment.ts";
import { makeMissing, type ResumeOptions } from "../results/make-missing.ts";
import { keyOf } from "../trial.ts";
import { readStepChecks, type StepCheck, type StepCheckInputs, stepCheckVersion } from "./step-check.ts";

/** A training whose first step is to be checked. */
export interface CheckedTraining {
  readonly training: TrainingOptions;
  /** Left out where the strategy splits its weights itself. */
  readonly weights?: WeightPlacement | undefined;
  /** Where the strategy refuses so many ranks for one sequence, it may have the fewest data groups with which it does not. */
  readonly orInGroups?: boolean;
}

export interface StepChecksOptions extends Omit<ResumeOptions, "folder"> {
  /** Where `trials.jsonl` and `environment.json` are, made if missing; nothing is kept where it is left out. */
  readonly folder?: string | undefined;
}

export interface StepChecksResult {
  /** In the order of the trainings, also those of an earlier call. */
  readonly checks: readonly StepCheck[];
  /** What cannot run at all, and why. */
  readonly refused: readonly { readonly strategy: string; readonly reason: string }[];
  readonly checkedNow: number;
}

/** Whether a step equals the expected one. */
export const isEqualStep = ({
  lossError,
  gradientError,
  allowed = allowedErrors,
}: Pick<StepCheck, "lossError" | "gradientError" | "allowed">): boolean =>
  // A comparison with NaN is never true.
  (lossError ?? Number.NaN) <= allowed.loss && (gradientError ?? Number.NaN) <= allowed.gradient;

/**
 * Takes the first step of each training, all of the same data, and compares it with the step of one rank, which is taken once, and only if
 * something is left to compare. What the folder already has, of equal inputs on an equal machine with equal code, is not taken again.
 *
 * @throws InputError if a strategy refuses its training and may have no groups, or another run writes into the folder.
 * @throws the signal's reason if it is aborted; what was checked until then is kept in the folder.
 */
export async function runStepChecks(
  trainings: readonly CheckedTraining[],
  options: StepChecksOptions,
): Promise<StepChecksResult> {
  const { compiler, isa } = engineInfo();
  const signal = options.signal && { signal: options.signal };
  const plans = trainings.map(planOf);
  let expected: ExpectedStep | undefined;
  const { trials, madeNow } = await makeMissing<PlannedCheck, StepCheck>(
    {
      environment: currentEnvironment({ compiler, isa, arguments: options.arguments, trains: true }),
      planned: plans.filter((plan) => "key" in plan),
      read: readStepChecks,
      make: async (plan, environmentId, tell) => {
        expected ??= await expectedFirstStep({ ...plan.training, ...signal });
        tell(0);
        return checked(plan, expected, environmentId, options.signal);
      },
      labelOf: ({ inputs }) => (expected === undefined ? "one rank" : inputs.strategy),
      what: "checks",
    },
    options,
  );
  return { checks: trials, refused: plans.filter((plan) => "reason" in plan), checkedNow: madeNow };
}

interface PlannedCheck {
  readonly training: TrainingOptions;
  readonly inputs: StepCheckInputs;
  readonly key: string;
  readonly usedDegrees: Degrees;
  readonly refusal?: string;
}

/** With the degrees that the strategy takes, or why it takes none. */
function planOf({
  training,
  weights,
  orInGroups,
}: CheckedTraining): PlannedCheck | { strategy: string; reason: string } {
  const whole = attempt(training);
  if (!("reason" in whole)) return { ...whole, ...keyed(whole.training, weights) };
  const { reason } = whole;
  if (!orInGroups) throw new InputError(reason);
  const most = documentsOf(batchOf(training, 1));
  for (let data = 2; data <= Math.min(most, training.cluster.ranks); data++) {
    const inGroups = attempt({ ...training, degrees: { data } });
    if (!("reason" in inGroups)) return { ...inGroups, ...keyed(inGroups.training, weights), refusal: reason };
  }
  return { strategy: training.strategy.name, reason };
}

function attempt(training: TrainingOptions): { training: TrainingOptions; usedDegrees: Degrees } | { reason: string } {
  const { strategy, strategyOptions } = training;
  const problem = stepProblem(batchOf(training, 1), training);
  try {
    const degrees = training.degrees ?? strategy.defaultDegrees(problem);
    const { loss } = strategy.compile(problem, degrees, strategyOptions);
    return { training, usedDegrees: loss.degrees };
  } catch (error) {
    if (error instanceof InputError) return { reason: error.message };
    throw error;
  }
}

function keyed(
  training: TrainingOptions,
  weights: WeightPlacement | undefined,
): { inputs: StepCheckInputs; key: string } {
  const { model, mix, tokens, seed, cluster, strategy, degrees, strategyOptions = {}, contaminated = false } = training;
  const { recompute = "selective", receivedKv = "fetch", prefetch = false, overlap = false } = training;
  const inputs: StepCheckInputs = {
    ...{ model: model.name, mix, tokens, seed, dtype: stepProblem(batchOf(training, 1), training).dtype },
    ...{
      ranks: cluster.ranks,
      ranksPerNode: cluster.levels[0].size,
      strategy: strategy.name,
      degrees: degrees ?? null,
    },
    ...{ options: { ...strategyOptions }, ...(weights && { weights }), recompute, receivedKv, prefetch },
    ...{ ...(overlap && { overlap }), contaminated },
  };
  return { inputs, key: keyOf(inputs) };
}

async function checked(
  { training, inputs, key, usedDegrees, refusal }: PlannedCheck,
  expected: ExpectedStep,
  environment: string,
  signal: AbortSignal | undefined,
): Promise<StepCheck> {
  const errors = await firstStepErrors({ ...training, ...(signal && { signal }) }, expected);
  return {
    ...inputs,
    ...{ schema: stepCheckVersion, key, environment, at: new Date().toISOString(), origin: "measured" },
    ...{ usedDegrees: { ...usedDegrees }, ...(refusal && { refusal }) },
    ...{ by: expected.by, expectedLoss: expected.loss, lossError: finite(errors.loss) },
    ...{ gradientError: finite(errors.gradient), worstGradient: errors.worst, runMs: errors.runMs },
    ...(expected.allowed !== allowedErrors && { allowed: { ...expected.allowed } }),
  };
}

const finite = (value: number): number | null => (Number.isFinite(value) ? value : null);
