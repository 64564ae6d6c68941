import { computeFloorMs, slowLinkBoundBytes } from "@hsap/baselines";
import { deviceTiming, nodesOf } from "@hsap/cluster";
import { type Explanation, explain, explanationLines } from "@hsap/compiler";
import { accountOf, type Degrees, type Problem, type Schedule } from "@hsap/schedule";
import { simulate } from "@hsap/simulator";
import { megabytes, shortNumber } from "./table.ts";

/** Why a schedule is as it is, and how far it is from what no schedule can go below. Times are predicted or simulated. */
export interface ScheduleExplanation extends Explanation {
  readonly simulatedMs: number;
  readonly bounds: {
    /** The pass spread evenly over all ranks at the kernel's rate on endless tiles. */
    readonly computeFloorMs: number;
    /** Into all nodes together, for equal area on every node and unsplit heads. */
    readonly betweenNodesBytes: number;
  };
  readonly betweenNodesBytes: number;
}

export function explanationOf(schedule: Schedule, degrees: Degrees | undefined): ScheduleExplanation {
  const { problem } = schedule;
  const { device } = problem.cluster;
  return {
    ...explain(problem, schedule, degrees),
    simulatedMs: simulate(schedule).trace.durationUs / 1e3,
    bounds: {
      computeFloorMs: computeFloorMs(problem, device.peakTflops * deviceTiming(device)[problem.pass].shareOfPeak),
      betweenNodesBytes: slowLinkBoundBytes(problem) * nodesOf(problem.cluster),
    },
    betweenNodesBytes: accountOf(schedule).betweenNodesBytes,
  };
}

/** The explanation as lines that a person reads; empty without one. */
export function formatExplanation(problem: Problem, explanation: ScheduleExplanation | undefined): string {
  if (explanation === undefined) return "";
  const { bounds, simulatedMs, betweenNodesBytes } = explanation;
  const lines = [
    ...explanationLines(problem, explanation),
    `compute floor: ${shortNumber(bounds.computeFloorMs)} ms; simulated, the schedule takes ${shortNumber(simulatedMs)} ms, ${(simulatedMs / bounds.computeFloorMs).toFixed(2)} times that`,
    `slow links: ${megabytes(betweenNodesBytes)} MB enter nodes; at least ${megabytes(bounds.betweenNodesBytes)} MB must, for equal area on every node and unsplit heads`,
  ];
  return `why\n${lines.map((line) => `  ${line}`).join("\n")}\n`;
}
