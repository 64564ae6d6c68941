import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { FairShare } from "../src/fair-share.ts";

interface Flow {
  readonly startUs: number;
  readonly bytes: number;
  readonly links: readonly number[];
  readonly weights?: readonly number[];
  readonly cap?: number;
}

/** Runs flows to their ends; returns when each ended and the links' statistics. */
function runFlows(capacity: readonly number[], flows: readonly Flow[]) {
  const foretold = new Map<number, { endUs: number; version: number }>();
  const share = new FairShare(Float64Array.from(capacity), (flow, endUs, version) => {
    foretold.set(flow, { endUs, version });
  });
  const order = flows.map((_, i) => i).sort((a, b) => flows[a].startUs - flows[b].startUs);
  const ids = new Map<number, number>();
  const ends = new Array<number>(flows.length).fill(Number.NaN);
  let next = 0;
  for (let events = 0; next < order.length || foretold.size > 0; events++) {
    if (events > 10_000) throw new Error("no end");
    const [flow, first] = [...foretold].reduce(
      (a, b) => (b[1].endUs < a[1].endUs ? b : a),
      [-1, { endUs: Number.POSITIVE_INFINITY, version: 0 }],
    );
    const startUs = next < order.length ? flows[order[next]].startUs : Number.POSITIVE_INFINITY;
    if (startUs <= first.endUs) {
      const { bytes, links, weights, cap } = flows[order[next]];
      ids.set(share.start(startUs, bytes, links, weights, cap), order[next++]);
      share.settle(startUs);
    } else {
      foretold.delete(flow);
      if (!share.end(flow, first.version)) continue;
      ends[ids.get(flow) as number] = first.endUs;
      share.settle(first.endUs);
    }
  }
  return { ends, carried: share.carried, highest: share.highest };
}

describe("FairShare", () => {
  it("gives a lone flow its narrowest link", () => {
    expect(runFlows([10, 4], [{ startUs: 1, bytes: 40, links: [0, 1] }]).ends).toEqual([11]);
  });

  it("halves a link between two flows, and gives all of it to the one that is left", () => {
    const { ends } = runFlows(
      [10],
      [
        { startUs: 0, bytes: 50, links: [0] },
        { startUs: 0, bytes: 100, links: [0] },
      ],
    );
    expect(ends).toEqual([10, 15]);
  });

  it("lets a flow have what another cannot use because of its other link", () => {
    const { ends } = runFlows(
      [10, 2],
      [
        { startUs: 0, bytes: 20, links: [0, 1] },
        { startUs: 0, bytes: 80, links: [0] },
      ],
    );
    expect(ends).toEqual([10, 10]);
  });

  it("lets a flow have what another cannot use because of its cap", () => {
    const { ends } = runFlows(
      [10],
      [
        { startUs: 0, bytes: 20, links: [0], cap: 2 },
        { startUs: 0, bytes: 80, links: [0] },
      ],
    );
    expect(ends).toEqual([10, 10]);
  });

  it("slows a flow down when another one joins its link", () => {
    const { ends } = runFlows(
      [10],
      [
        { startUs: 0, bytes: 100, links: [0] },
        { startUs: 5, bytes: 25, links: [0] },
      ],
    );
    expect(ends).toEqual([12.5, 10]);
  });

  it("uses a link by its weight", () => {
    expect(runFlows([10, 10], [{ startUs: 0, bytes: 10, links: [0, 1], weights: [1, 2] }]).ends).toEqual([2]);
  });

  it("never uses a link above its bandwidth, carries every byte, and ends every flow", () => {
    const anyFlow = fc.record({
      startUs: fc.integer({ min: 0, max: 20 }),
      bytes: fc.integer({ min: 1, max: 100 }),
      links: fc.uniqueArray(fc.nat(4), { minLength: 1, maxLength: 3 }),
      cap: fc.integer({ min: 1, max: 30 }),
    });
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 1, max: 20 }), { minLength: 5, maxLength: 5 }),
        fc.array(anyFlow, { minLength: 1, maxLength: 12 }),
        (capacity, flows) => {
          const { ends, carried, highest } = runFlows(capacity, flows);
          flows.forEach(({ startUs, bytes, links, cap }, i) => {
            const least = Math.max(bytes / cap, ...links.map((link) => bytes / capacity[link]));
            expect(ends[i]).toBeGreaterThanOrEqual(startUs + least - 1e-9);
          });
          capacity.forEach((limit, link) => {
            expect(highest[link]).toBeLessThanOrEqual(limit * (1 + 1e-9));
            const sent = flows.filter(({ links }) => links.includes(link)).reduce((sum, { bytes }) => sum + bytes, 0);
            expect(carried[link]).toBeCloseTo(sent, 9);
          });
        },
      ),
    );
  });
});
