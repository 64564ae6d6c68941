import {
  type AttendOptions,
  type Block,
  type Degrees,
  type Layout,
  type Problem,
  type ProgramBuilder,
  type Schedule,
  ScheduleBuilder,
  type Tile,
  type TokenRange,
  type Transfer,
  tilesBetween,
} from "@hsap/schedule";
import { type HeadSlice, type Hierarchy, headSlice, layoutOfUnits, rankOf } from "./hierarchy.ts";
import { byPosition, joined, type Piece } from "./piece.ts";
import type { Placement } from "./place.ts";
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
  const { hierarchy, sharding } = plan;
  const layout = layoutOfUnits(hierarchy, sharding);
  const builder = new ScheduleBuilder(problem, strategy, degrees, layout);
  const messages = messagesByUnit(plan.rounds, hierarchy.units);
  for (let unit = 0; unit < hierarchy.units; unit++) {
    const work = workOfUnit(problem, plan, unit, messages[unit]);
    for (let lane = 0; lane < hierarchy.ulysses; lane++) {
      const writer = new LaneWriter(problem, builder, hierarchy, layout, unit, lane);
      writer.gatherHeads();
      work.forEach(({ exchange, tiles }) => {
        writer.exchange(exchange);
        for (const tile of tiles) writer.attend(tile);
        writer.reduce(exchange.received);
      });
      writer.scatterHeads();
    }
  }
  return builder.finish();
}

/** A tile and whether its keys belong to the unit that computes it. */
interface UnitTile extends Tile {
  readonly ownKeys: boolean;
}

interface Exchange {
  readonly sent: readonly Message[];
  readonly received: readonly Message[];
}

/** A round's messages of one unit, and the tiles that overlap with them. */
interface Step {
  readonly exchange: Exchange;
  readonly tiles: readonly UnitTile[];
}

const silence: Exchange = { sent: [], received: [] };

function messagesByUnit(rounds: Rounds, units: number): Exchange[][] {
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
function workOfUnit(problem: Problem, plan: Plan, unit: number, rounds: readonly Exchange[]): Step[] {
  const tiles = new Map<number, PieceTile[]>();
  for (const tile of plan.placement.tiles[unit]) {
    const of = tiles.get(tile.document);
    if (of === undefined) tiles.set(tile.document, [tile]);
    else of.push(tile);
  }
  const against = (keys: readonly Piece[], ownKeys: boolean): UnitTile[] =>
    keys.flatMap((run) =>
      (tiles.get(run.document) ?? []).flatMap((tile) =>
        tilesBetween(problem.batch, problem.mask, { begin: tile.qBegin, end: tile.qEnd }, run).map((part) => ({
          ...part,
          ownKeys,
        })),
      ),
    );
  const arrived = rounds.map(({ received }) => joined(received.flatMap(({ data }) => data).sort(byPosition)));
  const ready = [against(plan.sharding[unit], true), ...arrived.map((keys) => against(keys, false))];
  return ready.map((tilesNow, step) => ({ exchange: rounds[step] ?? silence, tiles: tilesNow }));
}

/** Writes the program of one lane of one unit. */
class LaneWriter {
  readonly #program: ProgramBuilder;
  readonly #slice: HeadSlice;
  readonly #rank: number;
  readonly #backward: boolean;

  constructor(
    readonly problem: Problem,
    readonly builder: ScheduleBuilder,
    readonly hierarchy: Hierarchy,
    readonly layout: Layout,
    readonly unit: number,
    readonly lane: number,
  ) {
    this.#rank = rankOf(hierarchy, unit, lane);
    this.#program = builder.rank(this.#rank);
    this.#slice = headSlice(hierarchy, problem.shape, lane);
    this.#backward = problem.pass === "backward";
  }

  /** All-to-all inside the unit: own tokens with all heads become the unit's tokens with this lane's heads. */
  gatherHeads(): void {
    const tensors = this.#backward ? ["q", "k", "v", "do", "lse", "delta"] : ["q", "k", "v"];
    this.#allToAll((lane, peer) => this.#blocks(tensors, this.#tokensOf(lane), this.#sliceOf(peer)));
  }

  /** All-to-all inside the unit: results for this lane's heads go to the owners of their tokens. */
  scatterHeads(): void {
    const tensors = this.#backward ? ["dq", "dk", "dv"] : ["o", "lse"];
    this.#allToAll((lane, peer) => this.#blocks(tensors, this.#tokensOf(peer), this.#sliceOf(lane)));
  }

  /** The same lane of other units holds the same heads, so lanes exchange among themselves. */
  exchange({ sent, received }: Exchange): void {
    this.#program.exchange("p2p", [
      ...sent.map((message) => ({ to: this.#rankOf(message.to), blocks: this.#contents(message) })),
      ...received.map((message) => ({ from: this.#rankOf(message.from), blocks: this.#contents(message) })),
    ]);
  }

  attend(tile: UnitTile): void {
    const [headBegin, headEnd] = this.#slice.heads;
    const options: AttendOptions = { headBegin, headEnd, kvPart: tile.ownKeys ? 0 : partialOf(this.#rank) };
    this.#program.attend(tile, options);
  }

  /** Adds partial gradients that arrived, in the order of their senders. */
  reduce(received: readonly Message[]): void {
    const sums = new Map<string, { target: number; tokens: TokenRange; parts: number[] }>();
    for (const { from, gradients } of received) {
      for (const { begin, end, toOwner } of gradients) {
        const key = `${begin},${end}`;
        const sum = sums.get(key) ?? { target: toOwner ? 0 : partialOf(this.#rank), tokens: { begin, end }, parts: [] };
        sum.parts.push(partialOf(this.#rankOf(from)));
        sums.set(key, sum);
      }
    }
    for (const { target, tokens, parts } of sums.values()) {
      for (const tensor of ["dk", "dv"]) {
        const block = (part: number) => this.builder.block(tensor, tokens, this.#slice.kvHeads, part);
        this.#program.reduce(block(target), ...parts.map(block));
      }
    }
  }

  #contents({ from, data, gradients }: Message): Block[] {
    return [
      ...this.#blocks(["k", "v"], data, this.#slice),
      ...this.#blocks(["dk", "dv"], gradients, this.#slice, partialOf(this.#rankOf(from))),
    ];
  }

  #allToAll(blocks: (lane: number, peer: number) => Block[]): void {
    const transfers: Transfer[] = [];
    for (let peer = 0; peer < this.hierarchy.ulysses; peer++) {
      if (peer === this.lane) continue;
      const rank = rankOf(this.hierarchy, this.unit, peer);
      transfers.push({ to: rank, blocks: blocks(this.lane, peer) }, { from: rank, blocks: blocks(peer, this.lane) });
    }
    this.#program.exchange("allToAll", transfers);
  }

  #blocks(tensors: readonly string[], tokens: readonly TokenRange[], { heads, kvHeads }: HeadSlice, part = 0): Block[] {
    return tensors.flatMap((tensor) => {
      const slice = keyValueTensors.has(tensor) ? kvHeads : heads;
      return tokens.map((range) => this.builder.block(tensor, range, slice, part));
    });
  }

  #rankOf(unit: number): number {
    return rankOf(this.hierarchy, unit, this.lane);
  }

  #tokensOf(lane: number): readonly TokenRange[] {
    return this.layout[rankOf(this.hierarchy, this.unit, lane)];
  }

  #sliceOf(lane: number): HeadSlice {
    return headSlice(this.hierarchy, this.problem.shape, lane);
  }
}

const keyValueTensors: ReadonlySet<string> = new Set(["k", "v", "dk", "dv"]);

/** The part name of a rank's partial sums. Part 0 is the result itself. */
const partialOf = (rank: number): number => 1 + rank;
