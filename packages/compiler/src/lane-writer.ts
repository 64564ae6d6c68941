import type { Block, Layout, Problem, Tile, TokenRange } from "@hsap/schedule";
import { type HeadSlice, type Hierarchy, headSlice, rankOf } from "./hierarchy.ts";
import type { Exchange } from "./lower.ts";
import type { ScheduleTable } from "./schedule-table.ts";
import type { Message } from "./stage.ts";

/** Ids of the blocks of each message that has been written, for one lane. */
export type MessageContents = Map<Message, { readonly first: number; readonly past: number }>;

/** Writes the program of one lane of one unit: what the unit does, for the lane's heads. */
export class LaneWriter {
  readonly #slice: HeadSlice;
  readonly #rank: number;
  readonly #names: TensorNames;
  readonly #codes: ReadonlyMap<string, number>;
  readonly #resident: Block[] = [];
  // Blocks that tiles share: of queries by where they begin, of keys those of the tile written last.
  readonly #queries = new Map<number, { readonly end: number; readonly first: number }>();
  #keys = { begin: -1, end: -1, part: -1, first: -1 };

  constructor(
    readonly problem: Problem,
    readonly table: ScheduleTable,
    readonly hierarchy: Hierarchy,
    readonly layout: Layout,
    readonly contents: MessageContents,
    readonly unit: number,
    readonly lane: number,
  ) {
    this.#rank = rankOf(hierarchy, unit, lane);
    this.#slice = headSlice(hierarchy, problem.shape, lane);
    this.#names = problem.pass === "backward" ? backwardNames : forwardNames;
    this.#codes = new Map(everyName.map((name) => [name, table.tensor(name)]));
  }

  /**
   * All-to-all inside the unit: own tokens with all heads become the unit's tokens with this lane's heads. As with
   * Ulysses alone, lse stays split by heads, and a backward pass finds q, k, v and lse as the forward pass left them.
   */
  gatherHeads(): void {
    if (this.hierarchy.ulysses === 1) return;
    this.#allToAll(this.#names.gathered, (lane, peer) => [lane, peer]);
    for (const tensor of this.#names.resident) {
      const [headBegin, headEnd] = this.#headsOf(tensor, this.#slice);
      for (const { begin, end } of this.#tokensOfUnit()) {
        this.#resident.push({ tensor, part: 0, tokenBegin: begin, tokenEnd: end, headBegin, headEnd });
      }
    }
  }

  /** All-to-all inside the unit: results for this lane's heads go to the owners of their tokens. */
  scatterHeads(): void {
    if (this.hierarchy.ulysses > 1) this.#allToAll(this.#names.scattered, (lane, peer) => [peer, lane]);
  }

  /** The same lane of other units holds the same heads, so lanes exchange among themselves. */
  exchange({ sent, received }: Exchange): void {
    if (sent.length + received.length > 0) this.table.beginGroup();
    for (const message of sent) {
      this.table.transfer("send", "p2p", this.#rankOf(message.to));
      this.#contentsOf(message);
    }
    for (const message of received) {
      this.table.transfer("recv", "p2p", this.#rankOf(message.from));
      this.#contentsOf(message);
    }
  }

  /** One tile; partial gradients of keys that belong elsewhere are kept apart under this rank's name. */
  attend({ qBegin, qEnd, kBegin, kEnd, mask }: Tile, ownKeys: boolean): void {
    const { table } = this;
    const { byQuery, byKey } = this.#names;
    const q = this.#queryBlocks(qBegin, qEnd);
    const k = this.#keyBlocks(kBegin, kEnd, ownKeys ? 0 : partialOf(this.#rank));
    table.compute("attend", mask);
    table.operand(q);
    table.operand(k);
    table.operand(k + 1);
    table.operands(q + 1, q + byQuery.length);
    table.operands(k + 2, k + byKey.length);
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
        this.table.compute("reduce");
        for (const part of [target, ...parts]) {
          this.table.operand(this.#block(tensor, part, tokens.begin, tokens.end));
        }
      }
    }
  }

  end(): void {
    this.table.endRank(this.#resident);
  }

  /** The first of the blocks that a tile names by its queries, in the order of `byQuery`. */
  #queryBlocks(begin: number, end: number): number {
    const known = this.#queries.get(begin);
    if (known?.end === end) return known.first;
    const first = this.table.nextBlock;
    for (const tensor of this.#names.byQuery) this.#block(tensor, 0, begin, end);
    this.#queries.set(begin, { end, first });
    return first;
  }

  /** The first of the blocks that a tile names by its keys, in the order of `byKey`. */
  #keyBlocks(begin: number, end: number, part: number): number {
    const { begin: lastBegin, end: lastEnd, part: lastPart } = this.#keys;
    if (lastBegin === begin && lastEnd === end && lastPart === part) return this.#keys.first;
    const first = this.table.nextBlock;
    for (const tensor of this.#names.byKey) this.#block(tensor, isResult(tensor) ? part : 0, begin, end);
    this.#keys = { begin, end, part, first };
    return first;
  }

  /** The blocks of a message, which sender and receiver name alike; whoever comes first adds them to the table. */
  #contentsOf(message: Message): void {
    const known = this.contents.get(message);
    if (known !== undefined) {
      this.table.operands(known.first, known.past);
      return;
    }
    const first = this.table.nextBlock;
    for (const tensor of ["k", "v"]) {
      for (const { begin, end } of message.data) this.#block(tensor, 0, begin, end);
    }
    if (message.gradients.length > 0) {
      const part = partialOf(this.#rankOf(message.from));
      for (const tensor of ["dk", "dv"]) {
        for (const { begin, end } of message.gradients) this.#block(tensor, part, begin, end);
      }
    }
    const past = this.table.nextBlock;
    this.contents.set(message, { first, past });
    this.table.operands(first, past);
  }

  /** `lanesOf(sender, receiver)` names whose tokens and whose heads travel. */
  #allToAll(
    tensors: readonly string[],
    lanesOf: (sender: number, receiver: number) => readonly [number, number],
  ): void {
    this.table.beginGroup();
    for (let peer = 0; peer < this.hierarchy.ulysses; peer++) {
      if (peer === this.lane) continue;
      for (const kind of ["send", "recv"] as const) {
        const [tokens, heads] = kind === "send" ? lanesOf(this.lane, peer) : lanesOf(peer, this.lane);
        const ranges = this.#tokensOf(tokens);
        if (ranges.length === 0) continue;
        this.table.transfer(kind, "allToAll", rankOf(this.hierarchy, this.unit, peer));
        const slice = headSlice(this.hierarchy, this.problem.shape, heads);
        for (const tensor of tensors) {
          for (const { begin, end } of ranges) this.table.operand(this.#block(tensor, 0, begin, end, slice));
        }
      }
    }
  }

  #block(tensor: string, part: number, tokenBegin: number, tokenEnd: number, slice = this.#slice): number {
    const [headBegin, headEnd] = this.#headsOf(tensor, slice);
    return this.table.block(this.#codes.get(tensor) as number, part, tokenBegin, tokenEnd, headBegin, headEnd);
  }

  #headsOf(tensor: string, { heads, kvHeads }: HeadSlice): readonly [number, number] {
    return tensor === "k" || tensor === "v" || tensor === "dk" || tensor === "dv" ? kvHeads : heads;
  }

  #rankOf(unit: number): number {
    return rankOf(this.hierarchy, unit, this.lane);
  }

  #tokensOf(lane: number): readonly TokenRange[] {
    return this.layout[rankOf(this.hierarchy, this.unit, lane)];
  }

  #tokensOfUnit(): TokenRange[] {
    return Array.from({ length: this.hierarchy.ulysses }, (_, lane) => this.#tokensOf(lane)).flat();
  }
}

/** The part name of a rank's partial sums. Part 0 is the result itself. */
const partialOf = (rank: number): number => 1 + rank;

const isResult = (tensor: string): boolean => tensor === "dk" || tensor === "dv";

interface TensorNames {
  readonly gathered: readonly string[];
  readonly scattered: readonly string[];
  readonly resident: readonly string[];
  /** Operands of an attend op with its query rows: the first comes before keys and values, the others after them. */
  readonly byQuery: readonly string[];
  /** Operands of an attend op with its key rows; gradients come last. */
  readonly byKey: readonly string[];
}

const forwardNames: TensorNames = {
  gathered: ["q", "k", "v"],
  scattered: ["o"],
  resident: ["lse"],
  byQuery: ["q", "o", "lse"],
  byKey: ["k", "v"],
};

const backwardNames: TensorNames = {
  gathered: ["do"],
  scattered: ["dq", "dk", "dv"],
  resident: ["q", "k", "v", "lse", "delta"],
  byQuery: ["q", "do", "lse", "delta", "dq"],
  byKey: ["k", "v", "dk", "dv"],
};

const everyName = ["q", "k", "v", "o", "lse", "do", "delta", "dq", "dk", "dv"];
