import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { edgeColouring } from "../src/stage/edge-colouring.ts";

interface Edge {
  readonly from: number;
  readonly to: number;
}

const columns = (edges: readonly Edge[]) => ({
  from: Int32Array.from(edges, ({ from }) => from),
  to: Int32Array.from(edges, ({ to }) => to),
});

const vertices = 9;
const anyEdges = fc.uniqueArray(fc.record({ from: fc.nat(vertices - 1), to: fc.nat(vertices - 1) }), {
  selector: ({ from, to }) => from * vertices + to,
  maxLength: 60,
});

describe("edgeColouring", () => {
  it("never gives one colour twice to a sender or to a receiver, and needs no more colours than the busiest has edges", () => {
    fc.assert(
      fc.property(anyEdges, (edges) => {
        const colours = edgeColouring(columns(edges), vertices);
        const busy = (end: "from" | "to") =>
          Array.from({ length: vertices }, (_, vertex) => [...edges.keys()].filter((i) => edges[i][end] === vertex));
        const all = [...busy("from"), ...busy("to")];
        for (const at of all) expect(new Set(at.map((i) => colours[i])).size).toBe(at.length);
        const most = Math.max(...all.map(({ length }) => length));
        for (const colour of colours) expect(colour >= 0 && colour < most).toBe(true);
      }),
    );
  });

  it("colours a complete exchange in as many rounds as there are partners", () => {
    const edges = Array.from({ length: 16 }, (_, i) => ({ from: i >> 2, to: i & 3 }));
    expect(new Set(edgeColouring(columns(edges), 4)).size).toBe(4);
  });
});
