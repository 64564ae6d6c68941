import { levelBetween } from "@hsap/cluster";
import { accountOf, type LoweredSchedule, lower, type Schedule } from "@hsap/schedule";
import { rankBreakdowns } from "../breakdown.ts";
import type { Floors } from "../floors.ts";
import type { Simulation } from "../simulate.ts";
import type { ThreadMachine } from "./thread-machine.ts";
import { threadPlanOf } from "./thread-plan.ts";
import { ThreadRun } from "./thread-run.ts";

/** The kernel's name of a prediction for threads. */
export const threadKernel = "threads";

/**
 * Predicts a run of the engine on one machine, whose cores all ranks share. There are no links: what is not handed over as a
 * pointer is copied by its receiver, on a core.
 *
 * @throws InputError if the machine was not measured for what travels.
 * @throws Error if the schedule's programs wait for each other for ever.
 */
export function simulateThreads(
  schedule: Schedule,
  machine: ThreadMachine,
  lowered: LoweredSchedule = lower(schedule),
): Simulation {
  const plan = threadPlanOf(schedule, lowered, machine);
  const run = new ThreadRun(schedule, plan, machine);
  run.toEnd();
  const programs = {
    schedule,
    items: { ranks: plan.ranks, calls: plan.steps, groups: plan.groups },
    transfers: {
      collectiveOf: new Int32Array(plan.rankOfGroup.length).fill(-1),
      collectives: [],
      rankOfGroup: plan.rankOfGroup,
    },
    links: { levelBetween: (from: number, to: number) => levelBetween(schedule.problem.cluster, from, to) },
  };
  const { nowUs, stepBeginUs: callBeginUs, stepEndUs: callEndUs, groupMetUs, groupEndUs } = run;
  return {
    trace: run.trace(),
    perRank: rankBreakdowns(programs, { nowUs, callBeginUs, callEndUs, groupMetUs, groupEndUs }),
    floors: floorsOf(schedule, machine),
    carriedBytesByLevel: accountOf(schedule).bytesByLevel,
    highestLinkUse: 0,
    kernel: threadKernel,
  };
}

/** The products of unmasked pairs, of the busiest rank and of all ranks on all cores. There are no links. */
function floorsOf(schedule: Schedule, machine: ThreadMachine): Floors {
  const { shape, pass } = schedule.problem;
  const { area } = accountOf(schedule);
  const times = machine.termNs[shape.dtype];
  const pairWidthNs =
    pass === "forward"
      ? (times?.attendForward.pairWidth ?? 0)
      : (times?.attendBackward.pairWidth ?? 0) + (times?.attendBackward.columnWidth ?? 0);
  const usOf = (pairs: number) => (pairs * shape.headDim * pairWidthNs) / 1e3;
  const problemUs = usOf(area.total) / machine.cores;
  return { computationUs: Math.max(usOf(area.max), problemUs), bandwidthUs: 0, problemUs };
}
