import { doubled, type Piece, type Pieces, pieceAt } from "../piece.ts";
import { rowNumbers, sortByKey } from "../radix-sort.ts";

/**
 * What travels in messages: keys and values that the receiver's tiles read; queries that the receiver computes for; the sender's
 * partial gradients of keys and values that the receiver adds up, to its own partial gradients (`relayed`) or, as the owner of
 * these keys, to the result (`returned`); and the sender's partial results of queries that the receiver owns.
 */
export const cargoes = { keys: 0, relayed: 1, returned: 2, queries: 3, partials: 4 } as const;
export type Cargo = (typeof cargoes)[keyof typeof cargoes];

/**
 * Messages as columns: what one unit hands to another in one round. They are in order of round, sender and receiver. Rounds
 * have the same number on every unit, so messages that wait for each other are always in the same round.
 */
export interface Messages {
  readonly rounds: number;
  /** The rounds that carry keys and queries; those after them carry gradients and partial results. */
  readonly keyRounds: number;
  readonly round: Int32Array;
  readonly from: Int32Array;
  readonly to: Int32Array;
  /**
   * Items of message m are rows itemBegin[m] up to, not including, itemBegin[m + 1]: first keys, joined where they are
   * neighbours, then queries, gradients and partial results; each in order of position.
   */
  readonly itemBegin: Int32Array;
  readonly items: Items;
}

export interface Items extends Pieces {
  readonly cargo: Uint8Array;
}

/** A message as people and tests read it. */
export interface Message {
  readonly from: number;
  readonly to: number;
  readonly data: readonly Piece[];
  readonly gradients: readonly (Piece & { readonly toOwner: boolean })[];
  readonly queries: readonly Piece[];
  readonly partials: readonly Piece[];
}

export const isGradient = (cargo: number): boolean => cargo === cargoes.relayed || cargo === cargoes.returned;

/** The messages of each round, as people and tests read them. */
export function messagesByRound({ rounds, round, from, to, itemBegin, items }: Messages): Message[][] {
  const byRound: Message[][] = Array.from({ length: rounds }, () => []);
  for (let message = 0; message < round.length; message++) {
    const rows = Array.from({ length: itemBegin[message + 1] - itemBegin[message] }, (_, i) => itemBegin[message] + i);
    byRound[round[message]].push({
      from: from[message],
      to: to[message],
      data: rows.filter((row) => items.cargo[row] === cargoes.keys).map((row) => pieceAt(items, row)),
      gradients: rows
        .filter((row) => isGradient(items.cargo[row]))
        .map((row) => ({ ...pieceAt(items, row), toOwner: items.cargo[row] === cargoes.returned })),
      queries: rows.filter((row) => items.cargo[row] === cargoes.queries).map((row) => pieceAt(items, row)),
      partials: rows.filter((row) => items.cargo[row] === cargoes.partials).map((row) => pieceAt(items, row)),
    });
  }
  return byRound;
}

/**
 * Collects items in any order; those of one round from one unit to another become one message. Only one list is made at a
 * time: all are made in the same room, which is kept; `finish` copies out what was collected.
 */
export class MessageList {
  readonly #room = sharedRoom;
  #length = 0;
  #rounds = 0;

  constructor(readonly units: number) {}

  push(round: number, from: number, to: number, cargo: Cargo, document: number, begin: number, end: number): void {
    const room = this.#room;
    if (this.#length === room.round.length) room.grow();
    const row = this.#length++;
    room.round[row] = round;
    room.from[row] = from;
    room.to[row] = to;
    room.cargo[row] = cargo;
    room.document[row] = document;
    room.begin[row] = begin;
    room.end[row] = end;
    if (round >= this.#rounds) this.#rounds = round + 1;
  }

  /** The rounds before `keyRounds` carry keys and queries, the others gradients and partial results. */
  finish(keyRounds: number): Messages {
    const order = this.#inOrder();
    const items = {
      cargo: new Uint8Array(order.length),
      document: new Int32Array(order.length),
      begin: new Int32Array(order.length),
      end: new Int32Array(order.length),
    };
    const round = new Int32Array(order.length);
    const from = new Int32Array(order.length);
    const to = new Int32Array(order.length);
    const itemBegin = new Int32Array(order.length + 1);
    let messages = 0;
    let count = 0;
    for (let first = 0; first < order.length; messages++) {
      const past = this.#pastMessage(order, first);
      round[messages] = this.#room.round[order[first]];
      from[messages] = this.#room.from[order[first]];
      to[messages] = this.#room.to[order[first]];
      this.#sortItems(order, first, past);
      for (let i = first; i < past; i++) {
        const row = order[i];
        const last = count - 1;
        const isNext =
          this.#room.cargo[row] === cargoes.keys &&
          last >= itemBegin[messages] &&
          items.end[last] === this.#room.begin[row] &&
          items.document[last] === this.#room.document[row];
        if (isNext) {
          items.end[last] = this.#room.end[row];
          continue;
        }
        items.cargo[count] = this.#room.cargo[row];
        items.document[count] = this.#room.document[row];
        items.begin[count] = this.#room.begin[row];
        items.end[count++] = this.#room.end[row];
      }
      itemBegin[messages + 1] = count;
      first = past;
    }
    return {
      rounds: Math.max(this.#rounds, keyRounds),
      keyRounds,
      round: round.subarray(0, messages),
      from: from.subarray(0, messages),
      to: to.subarray(0, messages),
      itemBegin: itemBegin.subarray(0, messages + 1),
      items,
    };
  }

  /** Rows in order of round, sender and receiver. */
  #inOrder(): Int32Array {
    const order = rowNumbers(this.#length);
    const keys = new Uint32Array(this.#length);
    for (let row = 0; row < keys.length; row++) keys[row] = this.#room.to[row];
    sortByKey(order, keys);
    for (let row = 0; row < keys.length; row++) keys[row] = this.#room.round[row] * this.units + this.#room.from[row];
    sortByKey(order, keys);
    return order;
  }

  #pastMessage(order: Int32Array, first: number): number {
    const row = order[first];
    let past = first + 1;
    while (
      past < order.length &&
      this.#room.to[order[past]] === this.#room.to[row] &&
      this.#room.from[order[past]] === this.#room.from[row] &&
      this.#room.round[order[past]] === this.#room.round[row]
    ) {
      past++;
    }
    return past;
  }

  /** By kind of cargo, and those of one kind by position. Messages are small, and their items mostly in order already. */
  #sortItems(order: Int32Array, first: number, past: number): void {
    for (let i = first + 1; i < past; i++) {
      const row = order[i];
      let place = i;
      while (place > first && this.#isBefore(row, order[place - 1])) {
        order[place] = order[place - 1];
        place--;
      }
      order[place] = row;
    }
  }

  #isBefore(row: number, other: number): boolean {
    const place = placeOf[this.#room.cargo[row]];
    const otherPlace = placeOf[this.#room.cargo[other]];
    return place === otherPlace ? this.#room.begin[row] < this.#room.begin[other] : place < otherPlace;
  }
}

/** Where cargoes stand in a message: gradients of both kinds together. */
const placeOf: readonly number[] = [0, 2, 2, 1, 3];

/** Items of messages as columns. */
class Room {
  round = new Int32Array(4096);
  from = new Int32Array(4096);
  to = new Int32Array(4096);
  cargo = new Int32Array(4096);
  document = new Int32Array(4096);
  begin = new Int32Array(4096);
  end = new Int32Array(4096);

  grow(): void {
    this.round = doubled(this.round);
    this.from = doubled(this.from);
    this.to = doubled(this.to);
    this.cargo = doubled(this.cargo);
    this.document = doubled(this.document);
    this.begin = doubled(this.begin);
    this.end = doubled(this.end);
  }
}

const sharedRoom = new Room();
