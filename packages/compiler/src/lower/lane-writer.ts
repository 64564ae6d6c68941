import { groupKinds, type Problem } from "@hsap/schedule";
import { type HeadSlice, type Hierarchy, headSlice, rankOf, sharesKvHeads } from "../hierarchy.ts";
import type { Placement } from "../place/place.ts";
import { cargoes, isGradient, type Messages } from "../route/message.ts";
import type { Traffic } from "../route/traffic.ts";
import type { UnitTiles } from "../stage/unit-tiles.ts";
import type { OwnedRanges } from "./owned-ranges.ts";
import type { ScheduleTable } from "./schedule-table.ts";
import { Sums } from "./sums.ts";

/** What programs are written from, and where. */
export interface Writing {
  readonly problem: Problem;
  readonly table: ScheduleTable;
  readonly hierarchy: Hierarchy;
  readonly owned: OwnedRanges;
  readonly placement: Placement;
  readonly messages: Messages;
  readonly traffic: Traffic;
  /** Of the unit that is written. */
  readonly tiles: UnitTiles;
}

const p2pCode = groupKinds.indexOf("p2p");
const allToAllCode = groupKinds.indexOf("allToAll");

/** Writes the program of one lane of one unit after the other: what the unit does, for the lane's heads. */
export class LaneWriter {
  readonly #slices: readonly HeadSlice[];
  readonly #codes: TensorCodes;
  /** The first block of each message that has been written, by lane; -1 before. */
  readonly #contents: readonly Int32Array[];
  readonly #contentsPast: readonly Int32Array[];
  /** The first of the blocks that tiles name by their queries, by piece of the unit; -1 before. */
  readonly #queries: Int32Array;
  /**
   * The first block of what one lane sends another in an all-to-all of the unit, by sender and receiver: first those that gather
   * heads, then those that scatter them. -1 before it has been written.
   */
  readonly #traded: Int32Array;
  readonly #sums = new Sums();
  #unit = -1;
  #lane = 0;
  #rank = 0;
  // The blocks of the keys of the tile written last.
  #keysBegin = -1;
  #keysEnd = -1;
  #keysPart = -1;
  #keysFirst = -1;
  // The messages that the next round begins with, and those that a round has received.
  #nextSent = 0;
  #nextReceived = 0;
  readonly #receivedBegin: Int32Array;
  readonly #sharesKvHeads: boolean;

  constructor(readonly writing: Writing) {
    const { problem, table, hierarchy, messages, placement } = writing;
    const { ulysses } = hierarchy;
    const names = problem.pass === "backward" ? backwardNames : forwardNames;
    this.#slices = Array.from({ length: ulysses }, (_, lane) => headSlice(hierarchy, problem.shape, lane));
    const codesOf = (tensors: readonly string[]) => Int32Array.from(tensors, (tensor) => table.tensor(tensor));
    this.#codes = {
      gathered: codesOf(names.gathered),
      scattered: codesOf(names.scattered),
      byQuery: codesOf(names.byQuery),
      byKey: codesOf(names.byKey),
      keys: codesOf(["k", "v"]),
      gradients: codesOf(["dk", "dv"]),
      queries: codesOf(names.queries),
      partials: codesOf(names.partials),
    };
    this.#contents = Array.from({ length: ulysses }, () => new Int32Array(messages.round.length).fill(-1));
    this.#contentsPast = this.#contents.map((contents) => contents.slice());
    this.#queries = new Int32Array(placement.queries.pieces.begin.length);
    this.#traded = new Int32Array(2 * ulysses * ulysses);
    this.#receivedBegin = new Int32Array(messages.rounds + 1);
    this.#sharesKvHeads = sharesKvHeads(hierarchy, problem.shape);
  }

  /** What follows is the program of this lane. */
  begin(unit: number, lane: number): void {
    const { hierarchy, placement, traffic } = this.writing;
    if (unit !== this.#unit) this.#traded.fill(-1);
    this.#unit = unit;
    this.#lane = lane;
    this.#rank = rankOf(hierarchy, unit, lane);
    this.#keysBegin = -1;
    this.#queries.fill(-1, placement.queries.pieceBegin[unit], placement.queries.pieceBegin[unit + 1]);
    this.#nextSent = traffic.sentBegin[unit];
    this.#nextReceived = traffic.receivedBegin[unit];
  }

  /** As with Ulysses alone, lse stays split by heads, and a backward pass finds q, k, v and lse as the forward pass left them. */
  gatherHeads(): void {
    this.#allToAll(this.#codes.gathered, true);
  }

  scatterHeads(): void {
    this.#allToAll(this.#codes.scattered, false);
  }

  /** Each lane that has a kv head has a part of its gradients; the owner of the tokens adds them up. */
  addSharedHeads(): void {
    if (!this.#sharesKvHeads) return;
    const { table, hierarchy, owned } = this.writing;
    for (let range = owned.rangeBegin[this.#rank]; range < owned.rangeBegin[this.#rank + 1]; range++) {
      const [begin, end] = [owned.begin[range], owned.end[range]];
      for (const tensor of this.#codes.gradients) {
        for (let lane = 0; lane < hierarchy.ulysses; ) {
          const [headBegin, headEnd] = this.#slices[lane].kvHeads;
          table.reduce();
          const first = table.block(tensor, 0, begin, end, headBegin, headEnd);
          for (; lane < hierarchy.ulysses && this.#slices[lane].kvHeads[0] === headBegin; lane++) {
            table.block(tensor, partialOf(rankOf(hierarchy, this.#unit, lane)), begin, end, headBegin, headEnd);
          }
          table.operandsOf(first, table.nextBlock);
        }
      }
    }
  }

  /** The transfers of the next round; rounds come in their order. */
  exchange(round: number): void {
    const { messages, traffic } = this.writing;
    const firstSent = this.#nextSent;
    const firstReceived = this.#nextReceived;
    const pastSent = traffic.sentBegin[this.#unit + 1];
    const pastReceived = traffic.receivedBegin[this.#unit + 1];
    while (this.#nextSent < pastSent && messages.round[traffic.sent[this.#nextSent]] === round) this.#nextSent++;
    while (this.#nextReceived < pastReceived && messages.round[traffic.received[this.#nextReceived]] === round)
      this.#nextReceived++;
    this.#receivedBegin[round] = firstReceived;
    this.#receivedBegin[round + 1] = this.#nextReceived;
    if (this.#nextSent > firstSent || this.#nextReceived > firstReceived) {
      this.#exchange(firstSent, this.#nextSent, firstReceived, this.#nextReceived);
    }
  }

  /** A portion of the tiles on own keys. */
  attendOwn(portion: number): void {
    const { ownBegin } = this.writing.tiles;
    this.#attend(ownBegin[portion], ownBegin[portion + 1], this.#ownPart);
  }

  /** The tiles on what a round brought; partial gradients of keys that belong elsewhere are kept apart under this rank's name. */
  attendArrived(round: number): void {
    const { ownBegin, arrivedBegin } = this.writing.tiles;
    // Borrowed queries came in the first round.
    if (round === 0) this.#attend(ownBegin[ownBegin.length - 1], arrivedBegin[0], this.#ownPart);
    this.#attend(arrivedBegin[round], arrivedBegin[round + 1], partialOf(this.#rank));
  }

  /** The tiles of own queries on arrived keys that come after all others. */
  attendLate(): void {
    const { tiles } = this.writing;
    this.#attend(tiles.lateBegin, tiles.length, partialOf(this.#rank));
  }

  /** Adds the partial gradients and results that a round brought, in the order of their senders. */
  reduce(round: number): void {
    const [first, past] = [this.#receivedBegin[round], this.#receivedBegin[round + 1]];
    if (past === first) return;
    if (this.#codes.gradients[0] >= 0) this.#reduce(first, past);
    if (this.writing.placement.isBorrowed !== undefined) this.#sumResults(first, past);
  }

  /** The same lane of other units holds the same heads, so lanes exchange among themselves. */
  #exchange(firstSent: number, pastSent: number, firstReceived: number, pastReceived: number): void {
    const { table, messages, traffic } = this.writing;
    table.beginGroup();
    for (let i = firstSent; i < pastSent; i++) {
      table.transfer(true, p2pCode, this.#rankOf(messages.to[traffic.sent[i]]));
      this.#contentsOf(traffic.sent[i]);
    }
    for (let i = firstReceived; i < pastReceived; i++) {
      table.transfer(false, p2pCode, this.#rankOf(messages.from[traffic.received[i]]));
      this.#contentsOf(traffic.received[i]);
    }
  }

  /** The blocks of a message, which sender and receiver name alike; whoever comes first adds them to the table. */
  #contentsOf(message: number): void {
    const { table, messages } = this.writing;
    const { itemBegin, items } = messages;
    const contents = this.#contents[this.#lane];
    const firstItem = itemBegin[message];
    const pastItem = itemBegin[message + 1];
    if (contents[message] < 0) {
      contents[message] = table.nextBlock;
      const { heads, kvHeads } = this.#slices[this.#lane];
      const part = partialOf(this.#rankOf(messages.from[message]));
      for (let first = firstItem; first < pastItem; ) {
        const cargo = items.cargo[first];
        let past = first + 1;
        while (past < pastItem && (items.cargo[past] === cargo || (isGradient(cargo) && isGradient(items.cargo[past]))))
          past++;
        const isOfQueries = cargo === cargoes.queries || cargo === cargoes.partials;
        const [headBegin, headEnd] = isOfQueries ? heads : kvHeads;
        const isPartial = cargo !== cargoes.keys && cargo !== cargoes.queries;
        for (const tensor of this.#tensorsOf(cargo)) {
          table.blocksOf(tensor, isPartial ? part : 0, items.begin, items.end, first, past, headBegin, headEnd);
        }
        first = past;
      }
      this.#contentsPast[this.#lane][message] = table.nextBlock;
    }
    table.operandsOf(contents[message], this.#contentsPast[this.#lane][message]);
  }

  #tensorsOf(cargo: number): Int32Array {
    if (cargo === cargoes.keys) return this.#codes.keys;
    if (cargo === cargoes.queries) return this.#codes.queries;
    return cargo === cargoes.partials ? this.#codes.partials : this.#codes.gradients;
  }

  #attend(first: number, past: number, part: number): void {
    const { table, tiles } = this.writing;
    const { byQuery, byKey } = this.#codes;
    for (let tile = first; tile < past; tile++) {
      const q = this.#queryBlocks(tile);
      const k = this.#keyBlocks(tiles.kBegin[tile], tiles.kEnd[tile], part);
      table.attend(tiles.mask[tile], q, byQuery.length, k, byKey.length);
    }
  }

  /** The first of the blocks that a tile names by its queries, in the order of `byQuery`. */
  #queryBlocks(tile: number): number {
    const { table, tiles, placement } = this.writing;
    const { pieces } = placement.queries;
    const piece = tiles.piece[tile];
    const isWhole = tiles.qBegin[tile] === pieces.begin[piece] && tiles.qEnd[tile] === pieces.end[piece];
    if (isWhole && this.#queries[piece] >= 0) return this.#queries[piece];
    const first = table.nextBlock;
    if (isWhole) this.#queries[piece] = first;
    const [headBegin, headEnd] = this.#slices[this.#lane].heads;
    const isBorrowed = placement.isBorrowed?.[piece] === 1;
    table.blocksByTensor(
      this.#codes.byQuery,
      // Results of queries that others own are partial ones; what is read of them comes before.
      this.#codes.byQuery.length - this.#codes.partials.length,
      isBorrowed ? partialOf(this.#rank) : 0,
      tiles.qBegin[tile],
      tiles.qEnd[tile],
      headBegin,
      headEnd,
    );
    return first;
  }

  /** The first of the blocks that a tile names by its keys, in the order of `byKey`: gradients come last and are partial sums. */
  #keyBlocks(begin: number, end: number, part: number): number {
    if (this.#keysBegin === begin && this.#keysEnd === end && this.#keysPart === part) return this.#keysFirst;
    const { table } = this.writing;
    this.#keysBegin = begin;
    this.#keysEnd = end;
    this.#keysPart = part;
    this.#keysFirst = table.nextBlock;
    const [headBegin, headEnd] = this.#slices[this.#lane].kvHeads;
    table.blocksByTensor(this.#codes.byKey, 2, part, begin, end, headBegin, headEnd);
    return this.#keysFirst;
  }

  #reduce(firstReceived: number, pastReceived: number): void {
    const { table, messages, traffic } = this.writing;
    const sums = this.#sums;
    sums.collect(messages, traffic.received, firstReceived, pastReceived, isGradient);
    const [headBegin, headEnd] = this.#slices[this.#lane].kvHeads;
    for (let sum = 0; sum < sums.length; sum++) {
      const [begin, end] = [sums.begin[sum], sums.end[sum]];
      const target = sums.isResult[sum] === 1 ? this.#ownPart : partialOf(this.#rank);
      for (const tensor of this.#codes.gradients) {
        table.reduce();
        const first = table.block(tensor, target, begin, end, headBegin, headEnd);
        for (let part = sums.firstPart[sum]; part >= 0; part = sums.nextPart[part]) {
          table.block(tensor, partialOf(this.#rankOf(sums.from[part])), begin, end, headBegin, headEnd);
        }
        table.operandsOf(first, table.nextBlock);
      }
    }
  }

  /** Merges partial results of own queries into the results, or adds up their gradients. */
  #sumResults(firstReceived: number, pastReceived: number): void {
    const { problem, table, messages, traffic } = this.writing;
    const { partials } = this.#codes;
    const sums = this.#sums;
    sums.collect(messages, traffic.received, firstReceived, pastReceived, (cargo) => cargo === cargoes.partials);
    const [headBegin, headEnd] = this.#slices[this.#lane].heads;
    for (let sum = 0; sum < sums.length; sum++) {
      const [begin, end] = [sums.begin[sum], sums.end[sum]];
      if (problem.pass === "forward") table.merge();
      else table.reduce();
      const first = table.nextBlock;
      table.blocksByTensor(partials, partials.length, 0, begin, end, headBegin, headEnd);
      for (let part = sums.firstPart[sum]; part >= 0; part = sums.nextPart[part]) {
        const from = partialOf(this.#rankOf(sums.from[part]));
        table.blocksByTensor(partials, 0, from, begin, end, headBegin, headEnd);
      }
      table.operandsOf(first, table.nextBlock);
    }
  }

  /**
   * All-to-all inside the unit. Gathering, own tokens with all heads become the unit's tokens with this lane's heads;
   * otherwise results for this lane's heads go to the owners of their tokens.
   */
  #allToAll(tensors: Int32Array, isGathering: boolean): void {
    const { table, hierarchy, owned } = this.writing;
    const firstOfUnit = rankOf(hierarchy, this.#unit, 0);
    if (owned.rangeBegin[firstOfUnit] === owned.rangeBegin[firstOfUnit + hierarchy.ulysses]) return;
    table.beginGroup();
    for (let peer = 0; peer < hierarchy.ulysses; peer++) {
      if (peer === this.#lane) continue;
      for (let i = 0; i < 2; i++) {
        const isSend = i === 0;
        const [sender, receiver] = isSend ? [this.#lane, peer] : [peer, this.#lane];
        const tokens = rankOf(hierarchy, this.#unit, isGathering ? sender : receiver);
        const ranges = owned.rangeBegin[tokens + 1] - owned.rangeBegin[tokens];
        if (ranges === 0) continue;
        table.transfer(isSend, allToAllCode, rankOf(hierarchy, this.#unit, peer));
        const first = this.#tradedBlocks(tensors, sender, receiver, isGathering);
        table.operandsOf(first, first + ranges * tensors.length);
      }
    }
  }

  /** The first of the blocks that one lane sends another, which both name alike; whoever comes first adds them to the table. */
  #tradedBlocks(tensors: Int32Array, sender: number, receiver: number, isGathering: boolean): number {
    const { table, hierarchy, owned } = this.writing;
    const { ulysses } = hierarchy;
    const trade = ((isGathering ? 0 : ulysses) + sender) * ulysses + receiver;
    if (this.#traded[trade] >= 0) return this.#traded[trade];
    this.#traded[trade] = table.nextBlock;
    // Gathering, the sender's tokens travel for the receiver's heads; otherwise the other way round.
    const rank = rankOf(hierarchy, this.#unit, isGathering ? sender : receiver);
    const slice = this.#slices[isGathering ? receiver : sender];
    for (const tensor of tensors) {
      const [headBegin, headEnd] = this.#isOfKeys(tensor) ? slice.kvHeads : slice.heads;
      const [first, past] = [owned.rangeBegin[rank], owned.rangeBegin[rank + 1]];
      const isShared = this.#sharesKvHeads && this.#codes.gradients.includes(tensor);
      const part = isShared ? partialOf(rankOf(hierarchy, this.#unit, sender)) : 0;
      table.blocksOf(tensor, part, owned.begin, owned.end, first, past, headBegin, headEnd);
    }
    return this.#traded[trade];
  }

  #isOfKeys(tensor: number): boolean {
    const [k, v] = this.#codes.keys;
    const [dk, dv] = this.#codes.gradients;
    return tensor === k || tensor === v || tensor === dk || tensor === dv;
  }

  /** The part in which gradients of own keys add up. */
  get #ownPart(): number {
    return this.#sharesKvHeads ? partialOf(this.#rank) : 0;
  }

  #rankOf(unit: number): number {
    return rankOf(this.writing.hierarchy, unit, this.#lane);
  }
}

/** The part name of a rank's partial sums. Part 0 is the result itself. */
const partialOf = (rank: number): number => 1 + rank;

interface TensorNames {
  readonly gathered: readonly string[];
  readonly scattered: readonly string[];
  /** Operands of an attend op with its query rows: the first comes before keys and values, the others after them. */
  readonly byQuery: readonly string[];
  /** Operands of an attend op with its key rows; gradients come last. */
  readonly byKey: readonly string[];
  /** What others need to compute a query's tiles, and what they return: the last ones of `byQuery`. */
  readonly queries: readonly string[];
  readonly partials: readonly string[];
}

/** Codes of these tensors in the table. */
interface TensorCodes extends Readonly<Record<"gathered" | "scattered" | "byQuery" | "byKey", Int32Array>> {
  readonly keys: Int32Array;
  /** -1 in a forward pass. */
  readonly gradients: Int32Array;
  readonly queries: Int32Array;
  readonly partials: Int32Array;
}

const forwardNames: TensorNames = {
  gathered: ["q", "k", "v"],
  scattered: ["o"],
  byQuery: ["q", "o", "lse"],
  byKey: ["k", "v"],
  queries: ["q"],
  partials: ["o", "lse"],
};

const backwardNames: TensorNames = {
  gathered: ["do"],
  scattered: ["dq", "dk", "dv"],
  byQuery: ["q", "do", "lse", "delta", "dq"],
  byKey: ["k", "v", "dk", "dv"],
  queries: ["q", "do", "lse", "delta"],
  partials: ["dq"],
};
