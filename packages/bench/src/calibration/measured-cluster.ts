import { cpus } from "node:os";
import { reference } from "@hsap/baselines";
import { clusterOf, presetCluster } from "@hsap/cluster";
import { flopsOf, type Pass, type Problem, type Schedule, ScheduleBuilder } from "@hsap/schedule";
import { hardwareOf, namedEntry } from "@hsap/simulator";
import { packedBatch } from "@hsap/workload";
import { inspect } from "../compiled.ts";
import type { LedJob } from "../launch/rank-job.ts";
import { median } from "../statistics.ts";

/** A message of every rank at once, over one kind of link. */
export interface MessageTime {
  readonly bytes: number;
  /** From one message to the next, median. */
  readonly us: number;
}

/** One kind of link: what one rank gets of it while all ranks use it. */
export interface MeasuredLink {
  readonly latencyUs: number;
  readonly bandwidthGBps: number;
  readonly messages: readonly MessageTime[];
}

/** What ranks that are processes found out about their cluster. */
export interface ClusterProfile {
  readonly device: string;
  readonly library: string;
  readonly nodes: number;
  readonly ranksPerNode: number;
  /** Between ranks of one node, and of two; undefined where there is one rank a node, or one node. */
  readonly node: MeasuredLink | undefined;
  readonly network: MeasuredLink | undefined;
  /** Useful operations of attention of one rank while all compute, 1e12 a second on the clock, on tiles of 2048 tokens. */
  readonly teraflops: Readonly<Record<Pass, number>>;
}

export interface MeasureClusterOptions {
  readonly ranksPerNode: number;
  /** How often each sample is run; medians count. */
  readonly repeats: number;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((done: number, label: string) => void) | undefined;
}

/** One kv head of 64 fp32 elements: 256 bytes a token. */
const shape = { heads: 1, kvHeads: 1, headDim: 64, dtype: "fp32" } as const;
const bytesPerToken = 4 * shape.headDim;
/** Tokens of a message, and how many follow one another. */
const messages = [
  { tokens: 1, count: 60 },
  { tokens: 32, count: 40 },
  { tokens: 256, count: 20 },
  { tokens: 2048, count: 8 },
  { tokens: 16384, count: 4 },
] as const;

/** Measures the links between a job's ranks by message size, and how fast each rank computes while all do. */
export async function measureCluster(led: LedJob, options: MeasureClusterOptions): Promise<ClusterProfile> {
  const { ranksPerNode, onProgress } = options;
  const ranks = led.world.ranks;
  const nodes = Math.ceil(ranks / ranksPerNode);
  onProgress?.(0, "links of a node");
  // A neighbour in the own node, and the rank of the same place in the next node.
  const inNode = (rank: number) => {
    const first = rank - (rank % ranksPerNode);
    return first + ((rank + 1 - first) % Math.min(ranksPerNode, ranks - first));
  };
  const acrossNodes = (rank: number) => (rank + ranksPerNode) % ranks;
  const node = ranksPerNode > 1 && ranks > 1 ? await measureLink(led, inNode, options) : undefined;
  onProgress?.(0.3, "links between nodes");
  const even = ranks % ranksPerNode === 0;
  const network = nodes > 1 && even ? await measureLink(led, acrossNodes, options) : undefined;
  onProgress?.(0.7, "attention");
  const teraflops = {
    forward: await measureRate(led, "forward", options),
    backward: await measureRate(led, "backward", options),
  };
  onProgress?.(1, "done");
  const device = cpus()[0]?.model.trim() ?? "unknown processor";
  return { device, library: led.job.library, nodes, ranksPerNode, node, network, teraflops };
}

/**
 * The profile as a cluster file. Its device's peak is such that the kernels that the simulator knows of this machine's engine,
 * as shares of it, come out at the measured rate.
 */
export function clusterFileOf({
  device,
  library,
  nodes,
  ranksPerNode,
  node,
  network,
  teraflops,
}: ClusterProfile): string {
  const local = presetCluster("local");
  const { entry: kernel } = namedEntry("kernel", hardwareOf(local).kernels);
  const peak = teraflops.forward / kernel.forward.shareOfPeak;
  const level = (name: string, size: number, link: MeasuredLink | undefined, other: MeasuredLink | undefined) => {
    const { bandwidthGBps, latencyUs } = link ?? other ?? local.levels[0];
    const sizes = link?.messages.map(({ bytes, us }) => `${bytes} B in ${short(us)} us`).join(", ");
    const source =
      sizes === undefined
        ? "not measured: no such link in the job"
        : `measured over ${library}, all ranks at once: ${sizes}`;
    return `  - name: ${name}
    size: ${size}
    bandwidthGBps: { value: ${short(bandwidthGBps)}, source: ${JSON.stringify(source)} }
    latencyUs: { value: ${short(latencyUs)}, source: "as bandwidthGBps" }`;
  };
  return `# Measured by hsap calibrate on ${nodes} x ${ranksPerNode} ranks.
name: measured
levels:
${level("node", ranksPerNode, node, network)}
${level("cluster", nodes, network, node)}
device:
  name: ${JSON.stringify(`${device}, as one of ${ranksPerNode} ranks of a node`)}
  dtype: fp32
  peakTflops: { value: ${short(peak)}, source: "measured: ${short(1e3 * teraflops.forward)} Gflop/s forward (${short(1e3 * teraflops.backward)} backward) on tiles of 2048 tokens, all ranks at once, over the kernel's share of its peak" }
  memoryBandwidthGBps: { value: ${short(local.device.memoryBandwidthGBps ?? 10)}, source: "not measured: that of the preset local" }
`;
}

const short = (value: number): string => String(Number(value.toPrecision(4)));

/** Every rank sends to `next` of it, again and again, and takes from whoever sends to it. */
async function measureLink(
  led: LedJob,
  next: (rank: number) => number,
  { repeats, signal }: MeasureClusterOptions,
): Promise<MeasuredLink> {
  const times: MessageTime[] = [];
  for (const { tokens, count } of messages) {
    const schedule = exchangeOf(led.world.ranks, next, tokens, count);
    const us = await medianUs(led, schedule, repeats, signal);
    times.push({ bytes: tokens * bytesPerToken, us: us / count });
  }
  const [first, last] = [times[0], times[times.length - 1]];
  const bandwidthGBps = (last.bytes - first.bytes) / Math.max(last.us - first.us, 1e-3) / 1e3;
  return { latencyUs: first.us, bandwidthGBps, messages: times };
}

function exchangeOf(ranks: number, next: (rank: number) => number, tokens: number, count: number): Schedule {
  const own = tokens * count;
  const problem = problemOn(ranks, [ranks * own], "forward");
  const layout = Array.from({ length: ranks }, (_, rank) => [{ begin: rank * own, end: (rank + 1) * own }]);
  const builder = new ScheduleBuilder(problem, "exchange", {}, layout);
  const before = new Map(Array.from({ length: ranks }, (_, rank) => [next(rank), rank]));
  const sent = (rank: number, message: number) => {
    const begin = rank * own + message * tokens;
    return [builder.block("k", { begin, end: begin + tokens })];
  };
  for (let rank = 0; rank < ranks; rank++) {
    const from = before.get(rank) as number;
    for (let message = 0; message < count; message++) {
      builder.rank(rank).exchange("p2p", [
        { to: next(rank), blocks: sent(rank, message) },
        { from, blocks: sent(from, message) },
      ]);
    }
  }
  // A schedule must compute something: one token's attention is nothing beside what it sends.
  builder.rank(0).attend({ qBegin: 0, qEnd: 1, kBegin: 0, kEnd: 1, mask: "full" });
  return builder.finish();
}

/** Every rank computes a document of its own, of one tile for each head. */
async function measureRate(led: LedJob, pass: Pass, { repeats, signal }: MeasureClusterOptions): Promise<number> {
  const tokens = 2048;
  const { ranks } = led.world;
  const heads = { heads: 4, kvHeads: 4, headDim: 64, dtype: "fp32" } as const;
  const lengths = new Array<number>(ranks).fill(tokens);
  const problem: Problem = { ...problemOn(ranks, lengths, pass), shape: heads };
  const layout = lengths.map((length, rank) => [{ begin: rank * length, end: (rank + 1) * length }]);
  const builder = new ScheduleBuilder(problem, reference.name, {}, layout);
  for (let rank = 0; rank < ranks; rank++) {
    const [{ begin, end }] = layout[rank];
    builder.rank(rank).attend({ qBegin: begin, qEnd: end, kBegin: begin, kEnd: end, mask: "causal" });
  }
  const us = await medianUs(led, builder.finish(), repeats, signal);
  return flopsOf(problem) / ranks / us / 1e6;
}

async function medianUs(
  led: LedJob,
  schedule: Schedule,
  repeats: number,
  signal: AbortSignal | undefined,
): Promise<number> {
  const compiled = inspect(schedule, 0);
  const { heads, headDim } = schedule.problem.shape;
  const tokens = schedule.problem.batch.cuSeqlens.at(-1) as number;
  // What is computed does not matter here, only how fast.
  const saved =
    schedule.problem.pass === "backward"
      ? { saved: { o: new Float32Array(heads * tokens * headDim), lse: new Float32Array(heads * tokens) } }
      : {};
  const durations: number[] = [];
  let knownDigest: string | undefined;
  for (let repeat = 0; repeat <= repeats; repeat++) {
    const options = { seed: 1, ...saved, ...(knownDigest !== undefined && { knownDigest }), ...(signal && { signal }) };
    const { trace, digest } = await led.run(compiled, options);
    knownDigest = digest;
    // The first run makes connections and pages.
    if (repeat > 0) durations.push(trace.durationUs);
  }
  return median(durations);
}

function problemOn(ranks: number, lengths: readonly number[], pass: Pass): Problem {
  return { batch: packedBatch(lengths), shape, cluster: clusterOf({ ranks }), mask: "causal", pass };
}
