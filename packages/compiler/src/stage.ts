import { edgeColouring } from "./edge-colouring.ts";
import type { Crossings } from "./hop.ts";
import { cargoes, MessageList, type Messages } from "./message.ts";
import { rowNumbers, sortByKey } from "./radix-sort.ts";
import type { Routing } from "./route.ts";

/**
 * Pass 6, when transfers happen. Crossings are coloured so that in each round a unit sends at most one message to other
 * nodes and receives at most one; what arrived in a round is handed on inside the node in the next one, beside the next
 * crossings, which use another link. In a backward pass gradients go back as soon as their tiles are done: a round's
 * tiles are computed during the next round, so they leave in the one after that.
 */
export function stage({ within, between }: Routing, units: number, pass: "forward" | "backward"): Messages {
  const messages = new MessageList(units);
  const lastReturn = stageCrossings(messages, between, within.length, crossingColours(between, units), pass);
  for (let hop = 0; hop < within.length; hop++) {
    const { from, to, document, begin, end } = within;
    messages.push(0, from[hop], to[hop], cargoes.keys, document[hop], begin[hop], end[hop]);
    if (pass === "forward") continue;
    // Who has sent on a piece adds what comes back before it returns its own part to the owner.
    const round = Math.max(computedAfter(0), lastReturn[hop] + 1);
    messages.push(round, to[hop], from[hop], cargoes.returned, document[hop], begin[hop], end[hop]);
  }
  return messages.finish();
}

/** The first round whose messages may carry results of tiles on what arrives in `round`. */
const computedAfter = (round: number): number => round + 2;

/**
 * Stages what crosses to other nodes. Returns for each hop inside a node the last round in which gradients come back to its
 * receiver from those to whom it sent the piece on; -1 if it did not.
 */
function stageCrossings(
  messages: MessageList,
  { length, owner, from, to, document, begin, end, relay, atom, wantedBegin, wantedBy }: Crossings,
  hops: number,
  colours: Int32Array,
  pass: "forward" | "backward",
): Int32Array {
  const lastReturn = new Int32Array(hops).fill(-1);
  let handsOn = false;
  // Who sends on what it does not own has it only after the first round.
  let firstRound = 0;
  for (let row = 0; row < length; row++) {
    if (wantedBegin[atom[row] + 1] - wantedBegin[atom[row]] > 1) handsOn = true;
    if (relay[row] >= 0) firstRound = 1;
  }
  for (let row = 0; row < length; row++) {
    const round = firstRound + colours[row];
    const [sender, receiver] = [from[row], to[row]];
    messages.push(round, sender, receiver, cargoes.keys, document[row], begin[row], end[row]);
    const past = wantedBegin[atom[row] + 1];
    for (let i = wantedBegin[atom[row]]; i < past; i++) {
      const unit = wantedBy[i];
      if (unit === receiver) continue;
      messages.push(round + 1, receiver, unit, cargoes.keys, document[row], begin[row], end[row]);
      if (pass === "forward") continue;
      messages.push(computedAfter(round + 1), unit, receiver, cargoes.relayed, document[row], begin[row], end[row]);
    }
    if (pass === "forward") continue;
    // The receiver first adds what the others of its node have sent back to it.
    const returned = handsOn ? computedAfter(round + 1) + 1 : computedAfter(round);
    const cargo = sender === owner[row] ? cargoes.returned : cargoes.relayed;
    messages.push(returned, receiver, sender, cargo, document[row], begin[row], end[row]);
    if (relay[row] >= 0) lastReturn[relay[row]] = Math.max(lastReturn[relay[row]], returned);
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
