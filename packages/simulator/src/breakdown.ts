import type { Calls, Groups } from "./program-items.ts";
import type { PreparedSchedule, Run } from "./simulate.ts";

/** How one rank spends the step, in microseconds; the first three add up to the step. */
export interface RankBreakdown {
  readonly computingUs: number;
  /** Not computing while bytes of its own move. */
  readonly exposedCommunicationUs: number;
  /** Not computing and nothing moves: it waits for another rank, for its host, or for the end of the step. */
  readonly waitingUs: number;
  /** Bytes of its own move, hidden behind computation or not. */
  readonly communicatingUs: number;
  /** The exposed communication by the outermost level that the group uses, innermost first. */
  readonly exposedByLevelUs: readonly number[];
}

/** What a breakdown needs to know of the programs that ran. */
export interface ProgramsThatRan {
  readonly schedule: PreparedSchedule["schedule"];
  readonly items: {
    readonly ranks: number;
    readonly calls: Pick<Calls, "begin">;
    readonly groups: Pick<Groups, "begin" | "opBegin" | "opEnd">;
  };
  readonly transfers: Pick<PreparedSchedule["transfers"], "collectiveOf" | "collectives" | "rankOfGroup">;
  readonly links: { levelBetween(from: number, to: number): number };
}

/** Reads the breakdown of every rank off the times of a run. */
export function rankBreakdowns(
  prepared: ProgramsThatRan,
  run: Pick<Run, "nowUs" | "callBeginUs" | "callEndUs" | "groupMetUs" | "groupEndUs">,
): RankBreakdown[] {
  const { items, schedule } = prepared;
  const levels = schedule.problem.cluster.levels.length;
  return Array.from({ length: items.ranks }, (_, rank) => {
    const { calls, groups } = items;
    const exposedByLevelUs = new Array<number>(levels).fill(0);
    let computingUs = 0;
    let communicatingUs = 0;
    for (let call = calls.begin[rank]; call < calls.begin[rank + 1]; call++)
      computingUs += run.callEndUs[call] - run.callBeginUs[call];
    let call = calls.begin[rank];
    for (let group = groups.begin[rank]; group < groups.begin[rank + 1]; group++) {
      const from = run.groupMetUs[group];
      const to = run.groupEndUs[group];
      communicatingUs += to - from;
      while (call < calls.begin[rank + 1] && run.callEndUs[call] <= from) call++;
      let hidden = 0;
      for (let other = call; other < calls.begin[rank + 1] && run.callBeginUs[other] < to; other++)
        hidden += Math.max(0, Math.min(to, run.callEndUs[other]) - Math.max(from, run.callBeginUs[other]));
      exposedByLevelUs[levelOfGroup(prepared, group)] += to - from - hidden;
    }
    const exposedCommunicationUs = exposedByLevelUs.reduce((sum, us) => sum + us, 0);
    const waitingUs = Math.max(0, run.nowUs - computingUs - exposedCommunicationUs);
    return { computingUs, exposedCommunicationUs, waitingUs, communicatingUs, exposedByLevelUs };
  });
}

function levelOfGroup({ items, transfers, schedule, links }: ProgramsThatRan, group: number): number {
  const collective = transfers.collectiveOf[group];
  if (collective >= 0) return transfers.collectives[collective].level;
  let level = 0;
  for (let row = items.groups.opBegin[group]; row < items.groups.opEnd[group]; row++) {
    level = Math.max(level, links.levelBetween(transfers.rankOfGroup[group], schedule.ops.peer[row]));
  }
  return level;
}
