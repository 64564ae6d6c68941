import { clusterOf, presetCluster } from "@hsap/cluster";
import { lengthsOf, mixPack, packedBatch, tokensOf } from "@hsap/workload";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { dataGroups, dividedRanges, laneCluster, layerParameters, modelNamed, tokenOrder } from "../src/index.ts";

const model = modelNamed("7b");
const lengths = fc.array(fc.integer({ min: 1, max: 100_000 }), { minLength: 1, maxLength: 40 });

/** Products of a document's tokens with the weights of a layer, and its attention. */
const costOf = (length: number): number =>
  6 * layerParameters(model) * length + 6 * model.heads * model.headDim * length * (length + 1);

describe("documents of a batch over data-parallel groups", () => {
  it("lie in one group each, group by group, and keep their order there", () => {
    fc.assert(
      fc.property(lengths, fc.integer({ min: 1, max: 8 }), (given, data) => {
        fc.pre(given.length >= data);
        const { batch, groups } = dataGroups({ batch: packedBatch(given), model }, data);
        expect(groups).toHaveLength(data);
        expect([...lengthsOf(batch)].sort()).toEqual([...given].sort());
        let firstToken = 0;
        for (const group of groups) {
          expect(group.firstToken).toBe(firstToken);
          firstToken += tokensOf(group.batch);
          let from = 0;
          // A subsequence of what was given.
          for (const length of lengthsOf(group.batch)) from = given.indexOf(length, from) + 1;
          expect(data > 1 ? from : 1).toBeGreaterThan(0);
        }
        expect(groups.flatMap((group) => [...lengthsOf(group.batch)])).toEqual([...lengthsOf(batch)]);
      }),
    );
  });

  it("are balanced to within one document", () => {
    fc.assert(
      fc.property(lengths, fc.integer({ min: 2, max: 8 }), (given, data) => {
        fc.pre(given.length >= data);
        const { imbalance } = dataGroups({ batch: packedBatch(given), model }, data);
        const costs = given.map(costOf);
        const mean = costs.reduce((sum, cost) => sum + cost, 0) / data;
        expect(imbalance).toBeGreaterThanOrEqual(1 - 1e-12);
        expect(imbalance).toBeLessThanOrEqual(1 + Math.max(...costs) / mean + 1e-12);
      }),
    );
    // Nine documents of one length over four groups: one has three of them.
    expect(dataGroups({ batch: packedBatch(Array(9).fill(512)), model }, 4).imbalance).toBeCloseTo(3 / (9 / 4), 9);
    // One that is much longer than all others is not cut.
    const { imbalance } = dataGroups({ batch: packedBatch([131072, 1, 1, 1]), model }, 4);
    expect(imbalance).toBeGreaterThan(3.99);
    expect(() => dataGroups({ batch: packedBatch([5, 5]), model }, 3)).toThrow("data=3 (each group needs a document");
  });

  it("of real mixes are balanced to 0.2 % of what their longest document allows", () => {
    for (const mix of ["hybrid", "code", "instruct"] as const)
      for (const ranks of [8, 32, 64]) {
        const batch = mixPack(mix, { tokens: 8192 * ranks, seed: 1 });
        const costs = Array.from(lengthsOf(batch), costOf);
        const total = costs.reduce((sum, cost) => sum + cost, 0);
        for (const data of [2, 4, 8, 16, 32].filter((count) => count <= Math.min(ranks, costs.length))) {
          const least = Math.max(1, (data * Math.max(...costs)) / total);
          expect(dataGroups({ batch, model }, data).imbalance / least, `${mix} ${ranks} ${data}`).toBeLessThan(1.002);
        }
      }
  });

  it("are found again token by token", () => {
    fc.assert(
      fc.property(lengths, fc.integer({ min: 1, max: 8 }), (given, data) => {
        fc.pre(given.length >= data);
        const from = packedBatch(given.map((length) => 1 + (length % 7)));
        const { batch } = dataGroups({ batch: from, model }, data);
        const order = tokenOrder(from, batch);
        expect([...order].sort((a, b) => a - b)).toEqual(Array.from(order, (_, token) => token));
        // Tokens of one document stay side by side, from its first one on.
        batch.cuSeqlens.subarray(0, -1).forEach((begin, document) => {
          expect(from.cuSeqlens).toContain(order[begin]);
          for (let at = begin + 1; at < batch.cuSeqlens[document + 1]; at++) expect(order[at]).toBe(order[at - 1] + 1);
        });
      }),
    );
    expect(() => tokenOrder(packedBatch([3, 4]), packedBatch([3, 3]))).toThrow("a document of 3 tokens");
  });
});

describe("a lane of a hybrid", () => {
  it("divides what it owns evenly, in order", () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.integer({ min: 1, max: 9 }), fc.integer({ min: 1, max: 9 }))),
        fc.integer({ min: 1, max: 6 }),
        (gaps, pieces) => {
          let at = 0;
          const ranges = gaps.map(([gap, length]) => {
            const begin = at + gap;
            at = begin + length;
            return { begin, end: at };
          });
          const tokens = (owned: readonly { begin: number; end: number }[]) =>
            owned.flatMap(({ begin, end }) => Array.from({ length: end - begin }, (_, i) => begin + i));
          const divided = dividedRanges(ranges, pieces);
          expect(tokens(divided.flat())).toEqual(tokens(ranges));
          const sizes = divided.map((owned) => tokens(owned).length);
          expect(Math.max(...sizes) - Math.min(...sizes)).toBeLessThanOrEqual(1);
        },
      ),
    );
  });

  it("sees a machine on which each of its ranks stands for its tensor ranks", () => {
    const cluster = clusterOf({ ranks: 32, from: presetCluster("h100-400g") });
    const sizes = (tensor: number, places: number) =>
      laneCluster(cluster, { tensor, places, data: 1 }).levels.map(({ size }) => size);
    expect(sizes(1, 32)).toEqual([8, 4]);
    expect(sizes(2, 16)).toEqual([4, 4]);
    expect(sizes(8, 4)).toEqual([1, 4]);
    expect(sizes(16, 2)).toEqual([1, 2]);
    expect(sizes(4, 2)).toEqual([2]);
    expect(() => sizes(3, 8)).toThrow("invalid degree: tensor=3 (must divide the 8 units of");
  });
});
