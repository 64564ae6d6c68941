import { type Cluster, clusterOf } from "@hsap/cluster";
import { formatSchedule, publishedOptions, type Strategy, type StrategyOptions } from "@hsap/schedule";
import { describe, expect, it } from "vitest";
import { baselines } from "../src/index.ts";
import { type ProblemSketch, problemOf } from "./problems.ts";

/** A cluster of round numbers, so that no golden file changes with a preset. */
const cluster: Cluster = {
  name: "golden",
  levels: [
    { name: "node", size: 8, bandwidthGBps: 10, latencyUs: 1 },
    { name: "network", size: 8, bandwidthGBps: 1, latencyUs: 10 },
  ],
  ranks: 64,
  device: { name: "device", peakTflops: 1, dtype: "fp32", memoryBandwidthGBps: 100 },
};

/** Small enough to be read beside the paper, with documents that lie across ranks. */
const sketches: Readonly<Record<string, ProblemSketch>> = {
  reference: { lengths: [3, 5], ranks: 1 },
  "zigzag-per-document": { lengths: [4, 8], ranks: 2 },
  usp: { lengths: [10, 6], ranks: 4, ranksPerNode: 2 },
  loongtrain: { lengths: [6, 26], ranks: 8, ranksPerNode: 4 },
  "hybrid-cp": { lengths: [9, 4, 3], ranks: 4 },
  ulysses: { lengths: [3, 5], ranks: 2 },
  striped: { lengths: [6, 10], ranks: 2 },
  "dispatch-groupcast": { lengths: [10, 22], ranks: 2 },
};

/** Smaller still: the published stripes are of one token, and padding needs documents that 2P does not divide. */
const publishedSketches: Readonly<Record<string, ProblemSketch>> = {
  "zigzag-per-document": { lengths: [3, 7], ranks: 2 },
  striped: { lengths: [2, 4], ranks: 2 },
};

const sketchOf = ({ name }: Strategy): ProblemSketch => sketches[name] ?? { lengths: [5, 7], ranks: 3 };

describe.each(baselines.map((strategy) => [strategy.name, strategy] as const))("%s", (name, strategy) => {
  it.each(["forward", "backward"] as const)("writes the %s schedule that was reviewed", async (pass) => {
    const text = textOf(strategy, { ...sketchOf(strategy), pass });
    await expect(text).toMatchFileSnapshot(`golden/${name}.${pass}.txt`);
  });
});

const withPublished = baselines.filter((strategy) => Object.keys(publishedOptions(strategy)).length > 0);

describe.each(withPublished.map((strategy) => [strategy.name, strategy] as const))(
  "%s as published",
  (name, strategy) => {
    it.each(["forward", "backward"] as const)("writes the %s schedule that was reviewed", async (pass) => {
      const sketch = { ...sketchOf(strategy), ...publishedSketches[name], pass };
      const text = textOf(strategy, sketch, publishedOptions(strategy));
      await expect(text).toMatchFileSnapshot(`golden/${name}.published.${pass}.txt`);
    });
  },
);

function textOf(strategy: Strategy, given: ProblemSketch, options?: StrategyOptions): string {
  const sketch = { heads: 2, kvHeads: 2, headDim: 4, ...given };
  const { ranks, ranksPerNode = ranks } = sketch;
  const problem = { ...problemOf(sketch), cluster: clusterOf({ ranks, ranksPerNode, from: cluster }) };
  return formatSchedule(strategy.compile(problem, strategy.defaultDegrees(problem), options));
}
