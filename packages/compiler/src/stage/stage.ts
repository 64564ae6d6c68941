import type { Placement } from "../place/place.ts";
import { rowNumbers, sortByKey } from "../radix-sort.ts";
import type { Crossings } from "../route/hop.ts";
import { cargoes, MessageList, type Messages } from "../route/message.ts";
import type { Routing } from "../route/route.ts";
import { edgeColouring } from "./edge-colouring.ts";

/**
 * Pass 6, when transfers happen. All crossings leave at once, because one pair of ranks reaches only a part of a network card's
 * bandwidth, and because a call over all keys at once is faster than many over some of them. Where receive buffers have
 * to be smaller, crossings take several rounds: they are coloured so that a unit sends at most one message of a colour
 * to other nodes and receives at most one, and each round has its share of the colours. What arrived in a round is handed
 * on inside the node in the next one. In a backward pass gradients go back the same ways after all keys have come: first to
 * those who handed keys on, which add them up, then to other nodes, and last to owners whose keys others sent on. Queries that
 * others compute leave with the first keys, and their partial results return after the last ones, straight to their owners.
 *
 * @param crossingRounds in how many rounds crossings leave, if there are as many colours.
 */
export function stage(
  { within, between }: Routing,
  { queries, borrowed, crossesLater }: Pick<Placement, "queries" | "borrowed" | "crossesLater">,
  units: number,
  pass: "forward" | "backward",
  crossingRounds = 1,
): Messages {
  const messages = new MessageList(units);
  const rounds = roundsOf(between, units, crossingRounds, crossesLater ? 1 : 0);
  const keyRounds = Math.max(within.length + borrowed.row.length > 0 ? 1 : 0, rounds.last + 1);
  for (const [i, row] of borrowed.row.entries()) {
    const { document, begin, end } = queries.pieces;
    const [owner, unit] = [borrowed.owner[i], borrowed.unit[i]];
    messages.push(0, owner, unit, cargoes.queries, document[row], begin[row], end[row]);
    messages.push(keyRounds, unit, owner, cargoes.partials, document[row], begin[row], end[row]);
  }
  const lastReturn = stageCrossings(messages, between, within.length, rounds, keyRounds, pass);
  for (let hop = 0; hop < within.length; hop++) {
    const { from, to, document, begin, end } = within;
    messages.push(0, from[hop], to[hop], cargoes.keys, document[hop], begin[hop], end[hop]);
    if (pass === "forward") continue;
    // Who has sent on a piece adds what comes back before it returns its own part to the owner.
    const round = Math.max(keyRounds, lastReturn[hop] + 1);
    messages.push(round, to[hop], from[hop], cargoes.returned, document[hop], begin[hop], end[hop]);
  }
  return messages.finish(keyRounds);
}

interface CrossingRounds {
  /** The round in which each crossing leaves. */
  readonly of: Int32Array;
  /** The last round in which anything of them moves, -1 if nothing does. */
  readonly last: number;
  /** Whether anybody hands on what crossed. */
  readonly handsOn: boolean;
}

function roundsOf(between: Crossings, units: number, crossingRounds: number, earliest: number): CrossingRounds {
  const { length, relay, atom, wantedBegin } = between;
  const of = crossingRounds > 1 ? crossingColours(between, units) : new Int32Array(length);
  let colours = 0;
  let handsOn = false;
  // Who sends on what it does not own has it only after the first round.
  let firstRound = earliest;
  for (let row = 0; row < length; row++) {
    colours = Math.max(colours, of[row] + 1);
    if (wantedBegin[atom[row] + 1] - wantedBegin[atom[row]] > 1) handsOn = true;
    if (relay[row] >= 0) firstRound = 1;
  }
  const rounds = Math.min(colours, crossingRounds);
  for (let row = 0; row < length; row++) of[row] = firstRound + Math.floor((of[row] * rounds) / colours);
  return { of, last: length === 0 ? -1 : firstRound + rounds - 1 + (handsOn ? 1 : 0), handsOn };
}

/**
 * Stages what crosses to other nodes. Returns for each hop inside a node the last round in which gradients come back to its
 * receiver from those to whom it sent the piece on; -1 if it did not.
 */
function stageCrossings(
  messages: MessageList,
  { length, owner, from, to, document, begin, end, relay, atom, wantedBegin, wantedBy }: Crossings,
  hops: number,
  rounds: CrossingRounds,
  keyRounds: number,
  pass: "forward" | "backward",
): Int32Array {
  const lastReturn = new Int32Array(hops).fill(-1);
  // The receiver first adds what the others of its node have sent back to it.
  const returned = rounds.handsOn ? keyRounds + 1 : keyRounds;
  for (let row = 0; row < length; row++) {
    const [sender, receiver, round] = [from[row], to[row], rounds.of[row]];
    messages.push(round, sender, receiver, cargoes.keys, document[row], begin[row], end[row]);
    const past = wantedBegin[atom[row] + 1];
    for (let i = wantedBegin[atom[row]]; i < past; i++) {
      const unit = wantedBy[i];
      if (unit === receiver) continue;
      messages.push(round + 1, receiver, unit, cargoes.keys, document[row], begin[row], end[row]);
      if (pass === "forward") continue;
      messages.push(keyRounds, unit, receiver, cargoes.relayed, document[row], begin[row], end[row]);
    }
    if (pass === "forward") continue;
    const cargo = sender === owner[row] ? cargoes.returned : cargoes.relayed;
    messages.push(returned, receiver, sender, cargo, document[row], begin[row], end[row]);
    if (relay[row] >= 0) lastReturn[relay[row]] = returned;
  }
  return lastReturn;
}

/** The colour of each crossing. Those of one pair of units share one; large pairs first, so that those of one colour are about equally large. */
function crossingColours({ length, from, to, begin, end }: Crossings, units: number): Int32Array {
  const rows = rowNumbers(length);
  const keys = new Uint32Array(length);
  for (let row = 0; row < length; row++) keys[row] = to[row];
  sortByKey(rows, keys);
  for (let row = 0; row < length; row++) keys[row] = from[row];
  sortByKey(rows, keys);
  // Pairs as edges, in order of sender and receiver.
  const edgeOf = new Int32Array(length);
  const edgeFrom = new Int32Array(length);
  const edgeTo = new Int32Array(length);
  const size = new Uint32Array(length);
  let edges = 0;
  for (const row of rows) {
    if (edges === 0 || edgeFrom[edges - 1] !== from[row] || edgeTo[edges - 1] !== to[row]) {
      edgeFrom[edges] = from[row];
      edgeTo[edges] = to[row];
      size[edges++] = 0x7fffffff;
    }
    edgeOf[row] = edges - 1;
    size[edges - 1] -= end[row] - begin[row];
  }
  const order = rowNumbers(edges);
  sortByKey(order, size);
  const colours = edgeColouring(
    { from: order.map((edge) => edgeFrom[edge]), to: order.map((edge) => edgeTo[edge]) },
    units,
  );
  const colourOf = new Int32Array(edges);
  for (let i = 0; i < edges; i++) colourOf[order[i]] = colours[i];
  for (let row = 0; row < length; row++) edgeOf[row] = colourOf[edgeOf[row]];
  return edgeOf;
}
