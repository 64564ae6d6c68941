import { edgeColouring } from "./edge-colouring.ts";
import { byPosition, joined, type Piece } from "./piece.ts";
import type { Hop, Routing } from "./route.ts";

/** What one unit hands to another in one round. */
export interface Message {
  readonly from: number;
  readonly to: number;
  /** Keys and values. */
  readonly data: readonly Piece[];
  /** The sender's partial gradients of keys and values. */
  readonly gradients: readonly Gradient[];
}

export interface Gradient extends Piece {
  /** Whether the receiver owns these keys, so that it adds to the result; otherwise it adds to its own partial. */
  readonly toOwner: boolean;
}

/** Rounds have the same number on every unit, so messages that wait for each other are always in the same round. */
export type Rounds = readonly (readonly Message[])[];

/**
 * Pass 6, when transfers happen. Crossings are coloured so that in each round a unit sends at most one message to other
 * nodes and receives at most one; what arrived in a round is handed on inside the node in the next one, beside the next
 * crossings, which use another link. In a backward pass gradients go back as soon as their tiles are done: a round's
 * tiles are computed during the next round, so they leave in the one after that.
 */
export function stage({ within, between }: Routing, units: number, pass: "forward" | "backward"): Rounds {
  const rounds = new RoundList(units);
  const handsOn = between.some(({ handOnTo }) => handOnTo.length > 0);
  // Who sends on what it does not own has it only after the first round.
  const firstCrossing = between.some(({ from, owner }) => from !== owner) ? 1 : 0;
  const colourOf = crossingColours(between, units);
  const returns = new LastReturns(units);
  for (const crossing of between) {
    const { owner, from, to, handOnTo } = crossing;
    const round = firstCrossing + (colourOf.get(from * units + to) as number);
    rounds.data(round, from, to, crossing);
    for (const unit of handOnTo) rounds.data(round + 1, to, unit, crossing);
    if (pass === "forward") continue;
    for (const unit of handOnTo) rounds.gradient(computedAfter(round + 1), unit, to, crossing, false);
    // The receiver first adds what the others of its node have sent back to it.
    const returned = handsOn ? computedAfter(round + 1) + 1 : computedAfter(round);
    rounds.gradient(returned, to, from, crossing, from === owner);
    if (from !== owner) returns.add(owner, from, crossing, returned);
  }
  for (const hop of within) {
    const { from, to } = hop;
    rounds.data(0, from, to, hop);
    // Who has sent on a piece adds what comes back before it returns its own part to the owner.
    if (pass === "backward") {
      rounds.gradient(Math.max(computedAfter(0), returns.last(from, to, hop) + 1), to, from, hop, true);
    }
  }
  return rounds.finish();
}

/** For pieces sent on by units that do not own them: the last round in which gradients come back to them. */
class LastReturns {
  readonly #returns = new Map<number, { readonly piece: Piece; readonly round: number }[]>();

  constructor(readonly units: number) {}

  add(owner: number, sender: number, piece: Piece, round: number): void {
    const key = owner * this.units + sender;
    const known = this.#returns.get(key);
    if (known === undefined) this.#returns.set(key, [{ piece, round }]);
    else known.push({ piece, round });
  }

  /** -1 if nothing of the piece was sent on. */
  last(owner: number, sender: number, { begin, end }: Piece): number {
    let last = -1;
    for (const { piece, round } of this.#returns.get(owner * this.units + sender) ?? []) {
      if (piece.begin < end && piece.end > begin) last = Math.max(last, round);
    }
    return last;
  }
}

/** The first round whose messages may carry results of tiles on what arrives in `round`. */
const computedAfter = (round: number): number => round + 2;

/** The colour of every pair of units with crossings. Large ones first, so that those of one colour are about equally large. */
function crossingColours(between: readonly Hop[], units: number): Map<number, number> {
  const edges = new Map<number, { from: number; to: number; tokens: number }>();
  for (const hop of between) {
    const key = hop.from * units + hop.to;
    const edge = edges.get(key);
    if (edge === undefined) edges.set(key, { from: hop.from, to: hop.to, tokens: hop.end - hop.begin });
    else edge.tokens += hop.end - hop.begin;
  }
  const order = [...edges].sort(([a, x], [b, y]) => y.tokens - x.tokens || a - b);
  const colours = edgeColouring(
    order.map(([, edge]) => edge),
    units,
  );
  return new Map(order.map(([key], i) => [key, colours[i]]));
}

/** Collects messages: pieces of one round from one unit to another become one message. */
class RoundList {
  readonly #rounds: Map<number, { from: number; to: number; data: Piece[]; gradients: Gradient[] }>[] = [];

  constructor(readonly units: number) {}

  data(round: number, from: number, to: number, { document, begin, end }: Piece): void {
    this.#message(round, from, to).data.push({ document, begin, end });
  }

  gradient(round: number, from: number, to: number, { document, begin, end }: Piece, toOwner: boolean): void {
    this.#message(round, from, to).gradients.push({ document, begin, end, toOwner });
  }

  finish(): Rounds {
    return this.#rounds.map((messages) =>
      [...messages.values()]
        .sort((a, b) => a.from - b.from || a.to - b.to)
        .map(({ from, to, data, gradients }) => ({
          from,
          to,
          data: joined(data.sort(byPosition)),
          gradients: gradients.sort(byPosition),
        })),
    );
  }

  #message(round: number, from: number, to: number) {
    while (this.#rounds.length <= round) this.#rounds.push(new Map());
    const messages = this.#rounds[round];
    const key = from * this.units + to;
    const known = messages.get(key);
    if (known !== undefined) return known;
    const message = { from, to, data: [], gradients: [] };
    messages.set(key, message);
    return message;
  }
}
