import { existsSync, readFileSync, writeFileSync } from "node:fs";
import type { Pass, Problem } from "@hsap/schedule";
import { type Hardware, readHardware, simulate } from "@hsap/simulator";
import { InputError } from "@hsap/workload";
import { z } from "zod";
import { compileWith } from "../compiled.ts";
import { median } from "../statistics.ts";
import { variantName } from "../trial.ts";
import type { Experiment } from "./experiment-file.ts";
import { plannedCells } from "./planned-cells.ts";
import type { GivenPack, Variant } from "./trial-plan.ts";

const predictionsSchema = z.strictObject({
  schema: z.literal("hsap-predictions/1"),
  origin: z.literal("simulated"),
  /** The hardware file that they come from, whole: what `hsap calibrate --launcher` measured. */
  hardware: z.string(),
  steps: z.array(
    z.strictObject({
      pass: z.enum(["forward", "backward"]),
      mix: z.string(),
      variant: z.string(),
      /** Median over packs. */
      stepMs: z.number().min(0),
    }),
  ),
});

/** What the steps of an experiment are predicted to take. All of it is simulated. */
export type StepPredictions = Readonly<z.infer<typeof predictionsSchema>>;

/** The hardware file that `hsap calibrate --launcher` writes beside a cluster file. */
export const hardwareFileBeside = (clusterFile: string): string => clusterFile.replace(/(\.ya?ml)?$/, "-hardware.yaml");

/** Predicts every variant of an experiment on the links of its cluster, by a hardware file that was measured with them. */
export function predictSteps(experiment: Experiment, hardwareFile: string, pack?: GivenPack): StepPredictions {
  const hardware = readHardware(hardwareFile);
  const times = new Map<string, { pass: Pass; mix: string; variant: string; stepMs: number[] }>();
  for (const { cell, trials } of plannedCells(
    { ...experiment, sweep: { ...experiment.sweep, repeats: 1 } },
    pack,
    [],
  )) {
    for (const { variant } of trials) {
      const { strategy, degrees, options } = variant;
      const name = variantName({ strategy: strategy.name, degrees, options });
      const { mix, problem } = cell;
      const key = `${problem.pass}|${mix}|${name}`;
      const known = times.get(key) ?? { pass: problem.pass, mix, variant: name, stepMs: [] };
      known.stepMs.push(predictedMs(variant, problem, hardware));
      times.set(key, known);
    }
  }
  const steps = [...times.values()].map(({ stepMs, ...step }) => ({ ...step, stepMs: median(stepMs) }));
  return {
    schema: "hsap-predictions/1",
    origin: "simulated",
    hardware: readFileSync(hardwareFile, "utf8"),
    steps,
  };
}

export function writePredictions(file: string, predictions: StepPredictions): void {
  writeFileSync(file, `${JSON.stringify(predictions, null, 1)}\n`);
}

/**
 * The predictions in a results folder; undefined where there are none.
 *
 * @throws InputError if the file is not one of predictions.
 */
export function readPredictions(file: string): StepPredictions | undefined {
  if (!existsSync(file)) return undefined;
  try {
    return predictionsSchema.parse(JSON.parse(readFileSync(file, "utf8")));
  } catch (error) {
    throw new InputError(`invalid predictions: ${file} (${(error as Error).message.split("\n")[0]})`);
  }
}

function predictedMs({ strategy, degrees, options }: Variant, problem: Problem, hardware: Hardware): number {
  const { schedule, lowered } = compileWith(strategy, problem, { degrees, options });
  return simulate(schedule, { hardware, lowered, waits: lowered.op.waitFor }).trace.durationUs / 1e3;
}
