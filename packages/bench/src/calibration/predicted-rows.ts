import { type Cluster, clusterOf, presetCluster, presetNames } from "@hsap/cluster";
import { flopsOf, type Problem } from "@hsap/schedule";
import {
  type Hardware,
  type PreparedSchedule,
  type PublishedRow,
  prepareSchedule,
  simulatePrepared,
} from "@hsap/simulator";
import { type PackedBatch, packedBatch } from "@hsap/workload";
import { typicalPacks } from "./published-packs.ts";
import { type PublishedSystem, publishedSystems } from "./published-systems.ts";

/** A published row with the schedules that stand for it, ready to be simulated with any hardware. */
export interface PreparedRow {
  readonly row: PublishedRow;
  readonly system: PublishedSystem;
  readonly schedules: readonly PreparedSchedule[];
}

export interface PredictedRow {
  readonly row: PublishedRow;
  readonly predictedTflops: number;
  /** (predicted - published) / published. */
  readonly error: number;
}

/** The shape and size of the published evaluation: 8192 tokens for each device. */
export const publishedShape = { heads: 64, kvHeads: 8, headDim: 128, dtype: "bf16" } as const;
const tokensPerRank = 8192;

/** Compiles what stands for a row; of packed masks, one schedule for each of `packs` packs. */
export function prepareRow(row: PublishedRow, { packs, seed }: { packs: number; seed: number }): PreparedRow {
  const system = publishedSystems[row.system];
  if (system === undefined) throw new Error(`unknown system: ${row.system}`);
  const cluster = publishedCluster(row);
  const schedules = publishedBatches(row, packs, seed).map((batch) => {
    const mask = row.mask.endsWith("causal") ? "causal" : "full";
    const problem: Problem = { batch, shape: publishedShape, cluster, mask, pass: row.pass };
    return prepareSchedule(system.strategy.compile(problem, system.degrees(row.ranks), system.options));
  });
  return { row, system, schedules };
}

/** The mean over its packs of what the simulator predicts for a row. */
export function predictRow({ row, system, schedules }: PreparedRow, hardware?: Hardware): PredictedRow {
  const rates = schedules.map((prepared) => {
    const { trace } = simulatePrepared(prepared, { hardware, kernel: system.kernel, library: system.library });
    return flopsOf(prepared.schedule.problem) / row.ranks / (trace.durationUs * 1e6);
  });
  const predictedTflops = rates.reduce((sum, rate) => sum + rate, 0) / rates.length;
  return { row, predictedTflops, error: predictedTflops / row.tflopsPerDevice - 1 };
}

/**
 * The devices and links of a row's evaluation: nodes of eight with a 400 Gb/s card for each device, or what its preset has.
 *
 * @throws InputError if there is no preset of the device.
 */
export function publishedCluster({ device, ranks }: PublishedRow): Cluster {
  const ofDevice = presetNames().filter((name) => name.startsWith(`${device}-`));
  const preset = ofDevice.find((name) => name.endsWith("-400g")) ?? ofDevice[0];
  return clusterOf({ ranks, from: presetCluster(preset ?? device) });
}

/** What stands for the batches of a row: `packs` packs where documents are packed. */
export function publishedBatches({ mask, ranks }: PublishedRow, packs: number, seed: number): PackedBatch[] {
  const tokens = ranks * tokensPerRank;
  return mask.startsWith("packed") ? typicalPacks(tokens, packs, seed) : [packedBatch([tokens])];
}
