import { clusterOf, presetCluster } from "@hsap/cluster";
import {
  longestDegrees,
  longestStep,
  MemoryCount,
  type ModelProblem,
  modelNamed,
  type RankMemory,
  type Recomputation,
} from "@hsap/model";
import { fillPack } from "@hsap/workload";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { layerStrategyNamed } from "../src/index.ts";

const gibibyte = 2 ** 30;
const filled = (total: number): RankMemory => ({
  ...{ weights: 0, gradients: 0, optimiser: 0, activations: 0, working: total, total },
});

const problemOf = (tokens: number, name = "7b", ranks = 8): ModelProblem => ({
  model: modelNamed(name),
  batch: fillPack(() => tokens, { tokens }),
  cluster: clusterOf({ ranks, from: presetCluster("h100-400g") }),
  dtype: "bf16",
  lossChunk: 4096,
});

interface Asked {
  readonly name?: string;
  readonly ranks?: number;
  readonly weights?: "replicated" | "sharded";
  readonly recompute?: Recomputation;
  readonly gib?: number;
}

function longestOf(strategy: string, { name, ranks = 8, weights, recompute = "selective", gib = 80 }: Asked = {}) {
  const layers = layerStrategyNamed(strategy, weights);
  const memoryAt = (tokens: number) => {
    const problem = { ...problemOf(tokens, name, ranks), recompute };
    const schedules = layers.compile(problem, layers.defaultDegrees(problem));
    return new MemoryCount(problem, () => schedules).most(problem);
  };
  return { memoryAt, ...longestStep(memoryAt, { limitBytes: gib * gibibyte, grain: 256 * ranks }) };
}

describe("the search for the longest step", () => {
  it("finds what a search one by one finds, of any memory that grows, in few looks", () => {
    const curve = fc.record({
      base: fc.nat(1000),
      slope: fc.integer({ min: 1, max: 50 }),
      bend: fc.constantFrom(0, 0.01, 1, 20),
      grain: fc.integer({ min: 1, max: 9 }),
      limitBytes: fc.nat(20_000),
      about: fc.option(fc.nat(30_000), { nil: undefined }),
    });
    fc.assert(
      fc.property(curve, ({ base, slope, bend, grain, limitBytes, about }) => {
        const bytes = (tokens: number) => base + slope * tokens + bend * tokens ** 2;
        let looks = 0;
        const found = longestStep(
          (tokens) => {
            looks++;
            return filled(bytes(tokens));
          },
          { limitBytes, grain, ...(about !== undefined && { about }) },
        );
        let tokens = 0;
        while (bytes(tokens + grain) <= limitBytes) tokens += grain;
        expect(found.tokens).toBe(tokens);
        expect(found.memory?.total).toBe(tokens === 0 ? undefined : bytes(tokens));
        expect(found.next?.total).toBe(bytes(tokens + grain));
        expect(looks).toBeLessThan(40);
        if (bend === 0) expect(looks).toBeLessThan(7);
      }),
    );
  });

  it("needs few looks beside a good guess", () => {
    let looks = 0;
    const bytes = (tokens: number) => {
      looks++;
      return filled(1000 + 3 * tokens);
    };
    const found = longestStep(bytes, { limitBytes: 100_000, grain: 10, about: 34_000 });
    expect(found.tokens).toBe(33_000);
    expect(looks).toBeLessThan(6);
  });

  it("finds the degrees that trying all finds, wherever it begins, and whatever memory grows like", () => {
    const curves = fc.array(
      fc.record({ base: fc.nat(1000), slope: fc.integer({ min: 1, max: 9 }), bend: fc.constantFrom(0, 0.01, 1) }),
      { minLength: 1, maxLength: 8 },
    );
    fc.assert(
      fc.property(
        curves,
        fc.nat(3000),
        fc.integer({ min: 1, max: 9 }),
        fc.nat(7),
        (given, limitBytes, grain, first) => {
          const candidates = given.map((_, ring) => ({ ring }));
          const bytes = (tokens: number, { ring }: Record<string, number>) =>
            given[ring].base + given[ring].slope * tokens + given[ring].bend * tokens ** 2;
          const steps = {
            memory: (tokens: number, degrees: Record<string, number>) => filled(bytes(tokens, degrees)),
            exceeds: (tokens: number, degrees: Record<string, number>, limit: number) => bytes(tokens, degrees) > limit,
          };
          const all = candidates.map((degrees) => ({
            degrees,
            ...longestStep((tokens) => steps.memory(tokens, degrees), { limitBytes, grain }),
          }));
          const best = all.reduce((most, each) => (each.tokens > most.tokens ? each : most));
          const begin = first % candidates.length;
          expect(longestDegrees(candidates, steps, { limitBytes, grain, begin })).toEqual(best);
        },
      ),
    );
  });

  it("asks of degrees that do not fit more than the best so far nothing but whether they do", () => {
    const slopes = [7, 3, 5, 3, 2];
    const looks = slopes.map(() => 0);
    const asked = slopes.map(() => 0);
    const bytes = (tokens: number, { ring }: Record<string, number>) => slopes[ring] * tokens;
    const steps = {
      memory: (tokens: number, degrees: Record<string, number>) => {
        looks[degrees.ring]++;
        return filled(bytes(tokens, degrees));
      },
      exceeds: (tokens: number, degrees: Record<string, number>, limit: number) => {
        asked[degrees.ring]++;
        return bytes(tokens, degrees) > limit;
      },
    };
    const candidates = slopes.map((_, ring) => ({ ring }));
    const found = longestDegrees(candidates, steps, { limitBytes: 6000, grain: 10, begin: 1 });
    expect(found).toEqual({ degrees: { ring: 4 }, tokens: 3000, memory: filled(6000), next: filled(6020) });
    expect([looks, asked].map((counts) => counts.slice(2, 4))).toEqual([
      [0, 0],
      [1, 1],
    ]);
    expect(looks[0]).toBe(0);
    expect(() => longestDegrees([], steps, { limitBytes: 6000, grain: 10 })).toThrow(/^invalid degrees: /);
  });

  it("ends at the most tokens it was asked to look at", () => {
    const found = longestStep(() => filled(1), { limitBytes: 2, grain: 10, atMost: 105 });
    expect(found).toEqual({ tokens: 100, memory: filled(1) });
  });

  it("refuses a grain that is no number of tokens", () => {
    for (const grain of [0, 1.5, 2 ** 29])
      expect(() => longestStep(() => filled(1), { limitBytes: 2, grain })).toThrow(`invalid grain: ${grain}`);
  });
});

describe("the longest step of a model", () => {
  it.each(["megatron", "colai-sp", "ulysses", "ring", "hsap"])("of %s fits, and the next does not", (strategy) => {
    const { tokens, memory, next, memoryAt } = longestOf(strategy);
    expect(tokens).toBeGreaterThan(0);
    expect(memory).toEqual(memoryAt(tokens));
    expect(memory?.total).toBeLessThanOrEqual(80 * gibibyte);
    expect(next).toEqual(memoryAt(tokens + 8 * 256));
    expect(next?.total).toBeGreaterThan(80 * gibibyte);
  });

  it("is longer with more memory, more ranks, and activations computed again; shorter for larger models", () => {
    for (const strategy of ["ring", "ulysses", "hsap"]) {
      const { tokens } = longestOf(strategy);
      expect(longestOf(strategy, { gib: 40 }).tokens, strategy).toBeLessThan(tokens);
      expect(longestOf(strategy, { ranks: 16 }).tokens, strategy).toBeGreaterThan(2 * tokens);
      expect(longestOf(strategy, { recompute: "full" }).tokens, strategy).toBeGreaterThan(2 * tokens);
      expect(longestOf(strategy, { recompute: "none" }).tokens, strategy).toBeLessThan(0.9 * tokens);
      expect(longestOf(strategy, { name: "13b" }).tokens, strategy).toBeLessThan(tokens);
    }
  });

  it("is longer with sharded weights, and nothing where replicated ones fill the device", () => {
    for (const strategy of ["ring", "ulysses", "hsap"]) {
      const sharded = longestOf(strategy).tokens;
      expect(longestOf(strategy, { weights: "replicated" }).tokens, strategy).toBeLessThan(sharded);
      const { tokens, next } = longestOf(strategy, { name: "70b", weights: "replicated" });
      expect(tokens, strategy).toBe(0);
      expect(next?.weights, strategy).toBeGreaterThan(80 * gibibyte);
    }
  });
});
