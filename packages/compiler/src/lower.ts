import { type Degrees, type Problem, type Schedule, type Tile, tilesBetween } from "@hsap/schedule";
import { type Hierarchy, layoutOfUnits } from "./hierarchy.ts";
import { LaneWriter, type MessageContents } from "./lane-writer.ts";
import { byPosition, joined, type Piece } from "./piece.ts";
import type { Placement } from "./place.ts";
import { ScheduleTable } from "./schedule-table.ts";
import type { Sharding } from "./shard.ts";
import type { Message, Rounds } from "./stage.ts";
import type { PieceTile } from "./tile.ts";

/** What the earlier passes decided. */
export interface Plan {
  readonly hierarchy: Hierarchy;
  readonly sharding: Sharding;
  readonly placement: Placement;
  readonly rounds: Rounds;
}

/**
 * Pass 7, programs. Each rank first trades token shards for head slices with its unit (if units have several ranks), then
 * issues round after round, and between a round and the next computes the tiles on what had arrived before, its own keys
 * first; so each round's transfers overlap with the tiles of the one before. Last, results go back to the token shards.
 */
export function lowerToPrograms(problem: Problem, strategy: string, degrees: Degrees, plan: Plan): Schedule {
  const { hierarchy, sharding, rounds } = plan;
  const layout = layoutOfUnits(hierarchy, sharding);
  const table = new ScheduleTable(problem, strategy, degrees, layout);
  const exchanges = exchangesByUnit(rounds, hierarchy.units);
  const contents: MessageContents[] = Array.from({ length: hierarchy.ulysses }, () => new Map());
  for (let unit = 0; unit < hierarchy.units; unit++) {
    const steps = stepsOfUnit(problem, plan, unit, exchanges[unit]);
    for (let lane = 0; lane < hierarchy.ulysses; lane++) {
      const writer = new LaneWriter(problem, table, hierarchy, layout, contents[lane], unit, lane);
      writer.gatherHeads();
      for (const { exchange, ownTiles, foreignTiles } of steps) {
        writer.exchange(exchange);
        for (const tile of ownTiles) writer.attend(tile, true);
        for (const tile of foreignTiles) writer.attend(tile, false);
        writer.reduce(exchange.received);
      }
      writer.scatterHeads();
      writer.end();
    }
  }
  return table.finish();
}

/** A unit's messages of one round, in the order of the other units. */
export interface Exchange {
  readonly sent: readonly Message[];
  readonly received: readonly Message[];
}

/** A round of one unit, and the tiles that overlap with it: on its own keys, or on keys that earlier rounds brought. */
interface Step {
  readonly exchange: Exchange;
  readonly ownTiles: readonly Tile[];
  readonly foreignTiles: readonly Tile[];
}

const silence: Exchange = { sent: [], received: [] };

function exchangesByUnit(rounds: Rounds, units: number): Exchange[][] {
  const byUnit = Array.from({ length: units }, () =>
    rounds.map(() => ({ sent: [] as Message[], received: [] as Message[] })),
  );
  rounds.forEach((messages, round) => {
    for (const message of messages) {
      byUnit[message.from][round].sent.push(message);
      byUnit[message.to][round].received.push(message);
    }
  });
  return byUnit;
}

/** The steps of a unit. Tiles on what a round brings stand after the next round, hence one more step than rounds. */
function stepsOfUnit(problem: Problem, plan: Plan, unit: number, exchanges: readonly Exchange[]): Step[] {
  const queries = new Map<number, PieceTile[]>();
  for (const tile of plan.placement.tiles[unit]) {
    const known = queries.get(tile.document);
    if (known === undefined) queries.set(tile.document, [tile]);
    else known.push(tile);
  }
  const against = (keys: readonly Piece[]): Tile[] => {
    const tiles: Tile[] = [];
    for (const run of keys) {
      for (const { qBegin, qEnd } of queries.get(run.document) ?? []) {
        for (const tile of tilesBetween(problem.batch, problem.mask, { begin: qBegin, end: qEnd }, run))
          tiles.push(tile);
      }
    }
    return tiles;
  };
  const arrived = exchanges.map(({ received }) => {
    const pieces: Piece[] = [];
    for (const { data } of received) for (const piece of data) pieces.push(piece);
    return joined(pieces.sort(byPosition));
  });
  return Array.from({ length: exchanges.length + 1 }, (_, step) => ({
    exchange: exchanges[step] ?? silence,
    ownTiles: step === 0 ? against(plan.sharding[unit]) : [],
    foreignTiles: step === 0 ? [] : against(arrived[step - 1]),
  }));
}
