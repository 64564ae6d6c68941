import type { PipelineStep } from "@hsap/bench";
import { clusterOf } from "@hsap/cluster";
import { mixPack } from "@hsap/workload";
import type { FigureInputs } from "../src/index.ts";
import { sampleSchedule } from "./sample-schedule.ts";
import { syntheticTrace } from "./synthetic-trace.ts";
import { syntheticTrials } from "./synthetic-trials.ts";

/** Something for every figure. */
export function sampleInputs() {
  return {
    packing: { batch: mixPack("hybrid", { tokens: 16384, seed: 1 }), documents: "instructions, chat, code and books" },
    pipeline: { steps: sampleSteps(4), detail: 1, machine: "made-up times" },
    compilation: { schedule: sampleSchedule() },
    topology: {
      cluster: clusterOf({ ranks: 8, ranksPerNode: 4 }),
      strategy: "hsap",
      degrees: [
        { name: "ulysses", size: 2 },
        { name: "sap", size: 4 },
      ],
    },
    evaluation: {
      trials: syntheticTrials({
        strategies: ["hsap", "ulysses", "ring"],
        mixes: ["hybrid", "code", "single"],
        repeats: 5,
      }),
      machine: "made-up times",
    },
  } satisfies FigureInputs;
}

/** Steps of which each but the first is compiled while the one before executes. */
export function sampleSteps(count: number): PipelineStep[] {
  let compiled = 0;
  let executed = 0;
  let began = 0;
  return Array.from({ length: count }, (_, seed) => {
    const schedule = sampleSchedule({ batch: mixPack("hybrid", { tokens: 4096, seed }) });
    const trace = syntheticTrace(schedule);
    const compile = { beginMs: Math.max(compiled, began), endMs: Math.max(compiled, began) + 0.02 * (seed + 1) };
    compiled = compile.endMs;
    began = Math.max(compiled, executed);
    const execute = { beginMs: began, endMs: began + trace.durationUs / 1000 };
    executed = execute.endMs;
    return { compile, execute, schedule, trace };
  });
}
