/** One transfer between a sender and a receiver. */
export interface Edge {
  readonly from: number;
  readonly to: number;
}

/**
 * Gives each edge a colour so that no sender and no receiver has two edges of one colour, with as few colours as the
 * busiest of them has edges (König's theorem; the proof's alternating paths are the algorithm). Edges are taken in the
 * order given, each gets the first colour that is free at both ends, so put edges first that should share colours.
 *
 * @returns the colour of each edge, from 0.
 */
export function edgeColouring(edges: readonly Edge[], vertices: number): Int32Array {
  const degree = maxDegree(edges, vertices);
  const colours = new Int32Array(edges.length).fill(-1);
  // The edge of each colour at each sender and at each receiver, or -1.
  const atSender = new Int32Array(vertices * degree).fill(-1);
  const atReceiver = new Int32Array(vertices * degree).fill(-1);
  const paint = (edge: number, colour: number) => {
    colours[edge] = colour;
    atSender[edges[edge].from * degree + colour] = edge;
    atReceiver[edges[edge].to * degree + colour] = edge;
  };
  for (const [edge, { from, to }] of edges.entries()) {
    let freeAtBoth = 0;
    while (
      freeAtBoth < degree &&
      (atSender[from * degree + freeAtBoth] >= 0 || atReceiver[to * degree + freeAtBoth] >= 0)
    ) {
      freeAtBoth++;
    }
    if (freeAtBoth < degree) {
      paint(edge, freeAtBoth);
      continue;
    }
    const a = firstFree(atSender, from, degree);
    const b = firstFree(atReceiver, to, degree);
    // Colour `a` is taken at the receiver, `b` at the sender. Swapping both along the path that leaves the receiver
    // frees `a` there, and the path cannot end at the sender, for it would have to arrive there by colour `a`.
    const path: number[] = [];
    for (let next = atReceiver[to * degree + a], arriving = a; next >= 0; ) {
      path.push(next);
      arriving = arriving === a ? b : a;
      next = arriving === b ? atSender[edges[next].from * degree + b] : atReceiver[edges[next].to * degree + a];
    }
    for (const other of path) {
      atSender[edges[other].from * degree + colours[other]] = -1;
      atReceiver[edges[other].to * degree + colours[other]] = -1;
    }
    for (const other of path) paint(other, colours[other] === a ? b : a);
    paint(edge, a);
  }
  return colours;
}

function maxDegree(edges: readonly Edge[], vertices: number): number {
  const sent = new Int32Array(vertices);
  const received = new Int32Array(vertices);
  for (const { from, to } of edges) {
    sent[from]++;
    received[to]++;
  }
  return Math.max(0, ...sent, ...received);
}

function firstFree(table: Int32Array, vertex: number, degree: number): number {
  for (let colour = 0; colour < degree; colour++) if (table[vertex * degree + colour] < 0) return colour;
  throw new Error(`no free colour at vertex ${vertex}`);
}
