import { edgeColouring } from "./edge-colouring.ts";
import { byPosition, type Piece } from "./piece.ts";
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
  const rounds = new RoundList();
  const gradient = pass === "backward";
  for (const hop of within) {
    rounds.data(0, hop);
    if (gradient) rounds.gradient(computedAfter(0), back(hop), true);
  }
  const handsOn = between.some(({ handOnTo }) => handOnTo.length > 0);
  const roundOf = crossingRounds(between, units);
  for (const crossing of between) {
    const round = roundOf.get(edgeKey(crossing, units)) as number;
    rounds.data(round, crossing);
    for (const unit of crossing.handOnTo) {
      const hop = { ...crossing, from: crossing.to, to: unit };
      rounds.data(round + 1, hop);
      if (gradient) rounds.gradient(computedAfter(round + 1), back(hop), false);
    }
    // The receiver first adds what the others of its node have sent back to it.
    if (gradient) rounds.gradient(handsOn ? computedAfter(round + 1) + 1 : computedAfter(round), back(crossing), true);
  }
  return rounds.finish();
}

/** The first round whose messages may carry results of tiles on what arrives in `round`. */
const computedAfter = (round: number): number => round + 2;

const back = (hop: Hop): Hop => ({ ...hop, from: hop.to, to: hop.from });

const edgeKey = ({ from, to }: Hop, units: number): number => from * units + to;

/** The round of every pair of units with crossings. Large ones first, so that those in one round are about equally large. */
function crossingRounds(between: readonly Hop[], units: number): Map<number, number> {
  const edges = new Map<number, { from: number; to: number; tokens: number }>();
  for (const hop of between) {
    const edge = edges.get(edgeKey(hop, units));
    if (edge === undefined) edges.set(edgeKey(hop, units), { from: hop.from, to: hop.to, tokens: hop.end - hop.begin });
    else edge.tokens += hop.end - hop.begin;
  }
  const order = [...edges].sort(([a, x], [b, y]) => y.tokens - x.tokens || a - b);
  const colours = edgeColouring(
    order.map(([, edge]) => edge),
    units,
  );
  return new Map(order.map(([key], i) => [key, colours[i]]));
}

class RoundList {
  readonly #rounds: Map<string, { from: number; to: number; data: Piece[]; gradients: Gradient[] }>[] = [];

  data(round: number, hop: Hop): void {
    this.#message(round, hop).data.push(pieceOf(hop));
  }

  gradient(round: number, hop: Hop, toOwner: boolean): void {
    this.#message(round, hop).gradients.push({ ...pieceOf(hop), toOwner });
  }

  finish(): Rounds {
    return Array.from(this.#rounds, (messages) =>
      [...(messages ?? new Map()).values()]
        .sort((a, b) => a.from - b.from || a.to - b.to)
        .map(({ from, to, data, gradients }) => ({
          from,
          to,
          data: data.sort(byPosition),
          gradients: gradients.sort(byPosition),
        })),
    );
  }

  #message(round: number, { from, to }: Hop) {
    while (this.#rounds.length <= round) this.#rounds.push(new Map());
    const messages = this.#rounds[round];
    const key = `${from},${to}`;
    const known = messages.get(key);
    if (known !== undefined) return known;
    const message = { from, to, data: [], gradients: [] };
    messages.set(key, message);
    return message;
  }
}

const pieceOf = ({ document, begin, end }: Hop): Piece => ({ document, begin, end });
