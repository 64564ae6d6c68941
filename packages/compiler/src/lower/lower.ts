import { attentionTensors, type Degrees, type Problem, ranksOf, type Schedule } from "@hsap/schedule";
import { timedWork } from "../cost/predict.ts";
import type { Plan } from "../plan.ts";
import { orderOf, type Step } from "../stage/order.ts";
import { unitOf } from "../stage/portions.ts";
import { LaneWriter } from "./lane-writer.ts";
import { layoutOfRanges, ownedRanges } from "./owned-ranges.ts";
import { type OwnedPart, residentBlocks } from "./resident.ts";
import { ScheduleTable } from "./schedule-table.ts";

/** Programs as nothing but columns, which threads can hand to each other. */
export interface Programs extends Pick<Schedule, "blocks" | "ops" | "opBegin"> {
  readonly parts: readonly OwnedPart[];
}

/**
 * Pass 7, programs: each rank's steps in the order that `orderOf` gives, for all parts together.
 *
 * @param onlyRank the one rank whose program is wanted, if not all: other programs are left empty.
 */
export function lowerToPrograms(problem: Problem, plan: Plan, onlyRank: number | undefined): Programs {
  const table = new ScheduleTable(problem);
  const { work } = timedWork(problem, plan);
  const parts = plan.map(({ hierarchy, sharding }) => ({
    ulysses: hierarchy.ulysses,
    owned: ownedRanges(hierarchy, sharding),
  }));
  const writers = work.parts.map(
    ({ part, traffic, tiles }, i) => new LaneWriter({ problem, table, ...part, owned: parts[i].owned, traffic, tiles }),
  );
  const steps = orderOf(plan, problem.pass);
  for (let rank = 0; rank < ranksOf(problem); rank++) {
    if (onlyRank === undefined || onlyRank === rank) {
      work.prepare(rank);
      for (const [i, of] of work.parts.entries()) writers[i].begin(unitOf(of, rank), rank % parts[i].ulysses);
      for (const step of steps) writeStep(writers[step.part], step);
    }
    table.endRank();
  }
  return { parts, ...table.finish() };
}

function writeStep(writer: LaneWriter, step: Step): void {
  if (step.kind === "gather") writer.gatherHeads();
  else if (step.kind === "scatter") writer.scatterHeads();
  else if (step.kind === "addHeads") writer.addSharedHeads();
  else if (step.kind === "exchange") writer.exchange(step.round);
  else if (step.kind === "own") writer.attendOwn(step.portion);
  else if (step.kind === "arrived") writer.attendArrived(step.round);
  else if (step.kind === "late") writer.attendLate();
  else writer.reduce(step.round);
}

/** The schedule of which `programs` are the columns. */
export function scheduleOf(problem: Problem, degrees: Degrees, { parts, ...columns }: Programs): Schedule {
  const layout = layoutOfRanges(parts.map(({ owned }) => owned));
  const schedule = { problem, strategy: "hsap", degrees, layout, tensors: attentionTensors(problem), ...columns };
  const list = residentBlocks(problem, parts);
  if (list === undefined) return schedule;
  let resident: Schedule["resident"];
  // Listed when first asked for: there are many of these blocks, and only allocation and checks look at them.
  return Object.defineProperty(schedule, "resident", {
    enumerable: true,
    get() {
      resident ??= list();
      return resident;
    },
  });
}
