import { attentionTensors, type Degrees, type Problem, type Schedule } from "@hsap/schedule";
import type { Hierarchy } from "./hierarchy.ts";
import { LaneWriter } from "./lane-writer.ts";
import type { Messages } from "./message.ts";
import { layoutOfRanges, type OwnedRanges, ownedRanges } from "./owned-ranges.ts";
import { residentBlocks } from "./resident.ts";
import { ScheduleTable } from "./schedule-table.ts";
import type { Sharding } from "./shard.ts";
import { trafficOf } from "./traffic.ts";
import { UnitTiles } from "./unit-tiles.ts";

/** What the earlier passes decided, the same on every rank. */
export interface Plan {
  readonly hierarchy: Hierarchy;
  readonly sharding: Sharding;
  readonly messages: Messages;
}

/** Programs as nothing but columns, which threads can hand to each other. */
export interface Programs extends Pick<Schedule, "blocks" | "ops" | "opBegin"> {
  readonly owned: OwnedRanges;
}

/**
 * Pass 7, programs. Each rank first trades token shards for head slices with its unit (if units have several ranks), then
 * issues round after round, and between a round and the next computes the tiles on what had arrived before, its own keys
 * first; so each round's transfers overlap with the tiles of the one before. Last, results go back to the token shards.
 *
 * @param onlyRank the one rank whose program is wanted, if not all: other programs are left empty.
 */
export function lowerToPrograms(
  problem: Problem,
  { hierarchy, sharding, messages }: Plan,
  onlyRank: number | undefined,
): Programs {
  const { ulysses, units } = hierarchy;
  const owned = ownedRanges(hierarchy, sharding);
  const traffic = trafficOf(messages, units);
  const table = new ScheduleTable(problem);
  const tiles = new UnitTiles(problem, sharding, messages, traffic);
  const writer = new LaneWriter({ problem, table, hierarchy, owned, sharding, messages, traffic, tiles });
  for (let unit = 0; unit < units; unit++) {
    const isWanted = onlyRank === undefined || Math.floor(onlyRank / ulysses) === unit;
    if (isWanted) tiles.make(unit);
    for (let lane = 0; lane < ulysses; lane++) {
      if (onlyRank === undefined || onlyRank === unit * ulysses + lane) writer.write(unit, lane);
      table.endRank();
    }
  }
  return { owned, ...table.finish() };
}

/** The schedule of which `programs` are the columns. */
export function scheduleOf(problem: Problem, degrees: Degrees, { owned, ...columns }: Programs): Schedule {
  const layout = layoutOfRanges(owned);
  const schedule = { problem, strategy: "hsap", degrees, layout, tensors: attentionTensors(problem), ...columns };
  const list = residentBlocks(problem, degrees, owned);
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
