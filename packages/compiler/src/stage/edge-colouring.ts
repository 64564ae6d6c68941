/** Transfers between senders and receivers, as columns. */
export interface Edges {
  readonly from: Int32Array;
  readonly to: Int32Array;
}

/**
 * Gives each edge a colour so that no sender and no receiver has two edges of one colour, with as few colours as the
 * busiest of them has edges (König's theorem; the proof's alternating paths are the algorithm). Edges are taken in the
 * order given, each gets the first colour that is free at both ends, so put edges first that should share colours.
 *
 * @returns the colour of each edge, from 0.
 */
export function edgeColouring({ from, to }: Edges, vertices: number): Int32Array {
  const colours = new Int32Array(from.length);
  const degree = maxDegree({ from, to }, vertices);
  const senders = new Palette(vertices, degree);
  const receivers = new Palette(vertices, degree);
  const path: number[] = [];
  for (let edge = 0; edge < from.length; edge++) {
    const sender = from[edge];
    const receiver = to[edge];
    let colour = senders.firstFreeWith(sender, receivers, receiver);
    if (colour < 0) {
      // Colour `a` is taken at the receiver, `b` at the sender. Swapping both along the path that leaves the receiver
      // frees `a` there, and the path cannot end at the sender, for it would have to arrive there by colour `a`.
      const a = senders.firstFree(sender);
      const b = receivers.firstFree(receiver);
      path.length = 0;
      let next = receivers.edgeAt(receiver, a);
      for (let arriving = a; next >= 0; ) {
        path.push(next);
        arriving = arriving === a ? b : a;
        next = arriving === b ? senders.edgeAt(from[next], b) : receivers.edgeAt(to[next], a);
      }
      for (const other of path) {
        senders.wipe(from[other], colours[other]);
        receivers.wipe(to[other], colours[other]);
      }
      for (const other of path) {
        colours[other] = colours[other] === a ? b : a;
        senders.paint(from[other], colours[other], other);
        receivers.paint(to[other], colours[other], other);
      }
      colour = a;
    }
    colours[edge] = colour;
    senders.paint(sender, colour, edge);
    receivers.paint(receiver, colour, edge);
  }
  return colours;
}

/** The colours that are taken at each vertex on one side, as bits, and the edges that have them. */
class Palette {
  readonly #words: number;
  readonly #taken: Int32Array;
  readonly #edges: Int32Array;

  constructor(
    vertices: number,
    readonly colours: number,
  ) {
    this.#words = (colours + 31) >>> 5;
    this.#taken = new Int32Array(vertices * this.#words);
    this.#edges = new Int32Array(vertices * colours).fill(-1);
  }

  /** The edge that has a colour at a vertex, or -1. */
  edgeAt(vertex: number, colour: number): number {
    return this.#edges[vertex * this.colours + colour];
  }

  paint(vertex: number, colour: number, edge: number): void {
    this.#edges[vertex * this.colours + colour] = edge;
    this.#taken[vertex * this.#words + (colour >>> 5)] |= 1 << (colour & 31);
  }

  wipe(vertex: number, colour: number): void {
    this.#edges[vertex * this.colours + colour] = -1;
    this.#taken[vertex * this.#words + (colour >>> 5)] &= ~(1 << (colour & 31));
  }

  /** The first colour that is free at a vertex; there is one as long as the vertex has fewer edges than there are colours. */
  firstFree(vertex: number): number {
    return this.firstFreeWith(vertex, this, vertex);
  }

  /** The first colour that is free at a vertex and at one of the other side, or -1. */
  firstFreeWith(vertex: number, other: Palette, otherVertex: number): number {
    const words = this.#words;
    for (let word = 0; word < words; word++) {
      const free = ~(this.#taken[vertex * words + word] | other.#taken[otherVertex * words + word]);
      if (free === 0) continue;
      // The lowest bit that is set.
      const colour = 32 * word + 31 - Math.clz32(free & -free);
      return colour < this.colours ? colour : -1;
    }
    return -1;
  }
}

function maxDegree({ from, to }: Edges, vertices: number): number {
  const sent = new Int32Array(vertices);
  const received = new Int32Array(vertices);
  for (let edge = 0; edge < from.length; edge++) {
    sent[from[edge]]++;
    received[to[edge]]++;
  }
  let most = 0;
  for (let vertex = 0; vertex < vertices; vertex++) most = Math.max(most, sent[vertex], received[vertex]);
  return most;
}
