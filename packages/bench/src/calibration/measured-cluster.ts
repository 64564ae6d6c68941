import { cpus } from "node:os";
import { reference } from "@hsap/baselines";
import { clusterOf, presetCluster } from "@hsap/cluster";
import {
  flopsOf,
  isCommunication,
  opKinds,
  type Pass,
  type Problem,
  type Schedule,
  ScheduleBuilder,
  type Trace,
} from "@hsap/schedule";
import { hardwareOf, processOpUs } from "@hsap/simulator";
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

/** One kind of link, while all ranks compute. */
export interface MeasuredLink {
  readonly latencyUs: number;
  /** What one rank gets of it while all ranks use it. */
  readonly bandwidthGBps: number;
  readonly messages: readonly MessageTime[];
  /** What one rank of each node gets of it while the others send nothing. */
  readonly aloneGBps: number;
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
  /** Useful operations of attention of the last rank while all compute, 1e12 a second on the clock, on tiles of 1536 tokens. */
  readonly teraflops: Readonly<Record<Pass, number>>;
  /** The same forward, of each rank: devices that should be equally fast can be seen to be. */
  readonly rankTeraflops: readonly number[];
  /** How much longer the last rank computes than a core of this machine by its profile. */
  readonly slowdown: Readonly<Record<Pass, number>>;
}

export interface MeasureClusterOptions {
  readonly ranksPerNode: number;
  /** How often each sample is run; medians count. */
  readonly repeats: number;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((done: number, label: string) => void) | undefined;
}

/** Two kv heads of 32 fp32 elements: 256 bytes a token. A message of both is packed before it travels, as those of a step mostly are. */
const shape = { heads: 2, kvHeads: 2, headDim: 32, dtype: "fp32" } as const;
const bytesPerToken = 4 * shape.kvHeads * shape.headDim;
/** Tokens of a message, and how many follow one another. */
const messages = [
  { tokens: 1, count: 60 },
  { tokens: 32, count: 40 },
  { tokens: 256, count: 20 },
  { tokens: 2048, count: 8 },
  { tokens: 16384, count: 3 },
] as const;

/** Measures the links between a job's ranks by message size, and how fast each rank computes while all do. */
export async function measureCluster(led: LedJob, options: MeasureClusterOptions): Promise<ClusterProfile> {
  const { ranksPerNode, onProgress } = options;
  const ranks = led.world.ranks;
  const nodes = Math.ceil(ranks / ranksPerNode);
  // A machine that others use is faster at one time than at another, so rates are sampled before, between and after the links.
  const rates = { forward: new RateSamples(led, "forward"), backward: new RateSamples(led, "backward") };
  const visits = 3;
  const sampleRates = async (done: number) => {
    onProgress?.(done, "attention");
    const visit = { ...options, repeats: Math.ceil(options.repeats / visits) };
    await rates.forward.take(visit);
    await rates.backward.take(visit);
  };
  await sampleRates(0);
  onProgress?.(0.15, "links of a node");
  // A neighbour in the own node, and the rank of the same place in the next node.
  const inNode = (rank: number) => {
    const first = rank - (rank % ranksPerNode);
    return first + ((rank + 1 - first) % Math.min(ranksPerNode, ranks - first));
  };
  const acrossNodes = (rank: number) => (rank + ranksPerNode) % ranks;
  const node = ranksPerNode > 1 && ranks > 1 ? await measureLink(led, inNode, options) : undefined;
  await sampleRates(0.4);
  onProgress?.(0.55, "links between nodes");
  const even = ranks % ranksPerNode === 0;
  const network = nodes > 1 && even ? await measureLink(led, acrossNodes, options) : undefined;
  await sampleRates(0.85);
  onProgress?.(1, "done");
  const forward = rates.forward.rate();
  const backward = rates.backward.rate();
  const device = cpus()[0]?.model.trim() ?? "unknown processor";
  return {
    ...{ device, library: led.job.library, nodes, ranksPerNode, node, network },
    teraflops: { forward: forward.teraflops, backward: backward.teraflops },
    rankTeraflops: forward.rankTeraflops,
    slowdown: { forward: forward.slowdown, backward: backward.slowdown },
  };
}

/** Every rank sends to `next` of it, again and again, and takes from whoever sends to it. */
async function measureLink(
  led: LedJob,
  next: (rank: number) => number,
  options: MeasureClusterOptions,
): Promise<MeasuredLink> {
  const { ranks } = led.world;
  const everyone = Array.from({ length: ranks }, (_, rank) => rank);
  const times: MessageTime[] = [];
  for (const { tokens, count } of messages) {
    const us = await exchangeUs(led, { senders: everyone, next, tokens, count }, options);
    times.push({ bytes: tokens * bytesPerToken, us: us / count });
  }
  const [first, last] = [times[0], times[times.length - 1]];
  const bandwidthGBps = (last.bytes - first.bytes) / Math.max(last.us - first.us, 1e-3) / 1e3;
  const senders = everyone.filter((rank) => rank % options.ranksPerNode === 0);
  const largest = messages[messages.length - 1];
  const aloneUs = (await exchangeUs(led, { senders, next, ...largest }, options)) / largest.count;
  const aloneGBps = last.bytes / Math.max(aloneUs - first.us, 1e-3) / 1e3;
  return { latencyUs: first.us, bandwidthGBps, messages: times, aloneGBps };
}

interface Exchange {
  readonly senders: readonly number[];
  readonly next: (rank: number) => number;
  readonly tokens: number;
  readonly count: number;
}

/** Until all messages are there, while all ranks compute: so links are used, and a message waits for a core like any other time. */
async function exchangeUs(led: LedJob, exchange: Exchange, options: MeasureClusterOptions): Promise<number> {
  const { ranks } = led.world;
  const ends = (schedule: Schedule) => (trace: Trace) => {
    let last = 0;
    trace.endUs.forEach((end, op) => {
      if (isTransfer[schedule.ops.kind[op]]) last = Math.max(last, end);
    });
    return last;
  };
  const quiet = exchangeOf(ranks, exchange, 0);
  const quietUs = await medianUs(led, quiet, { ...options, repeats: 1 }, ends(quiet));
  // Computation is made to outlast the messages.
  const tiles = Math.ceil((quietUs < 1e5 ? 3 : 1.5) * (quietUs / 1e3 / (await tileMs(led, options))));
  const loaded = exchangeOf(ranks, exchange, tiles);
  return medianUs(led, loaded, options, ends(loaded));
}

const isTransfer = opKinds.map(isCommunication);
const tileTokens = 512;

async function tileMs(led: LedJob, options: MeasureClusterOptions): Promise<number> {
  const known = tileTimes.get(led);
  if (known !== undefined) return known;
  const alone = { senders: [], next: (rank: number) => rank, tokens: 1, count: 0 };
  const ms = (await medianUs(led, exchangeOf(led.world.ranks, alone, 16), options)) / 16e3;
  tileTimes.set(led, ms);
  return ms;
}

const tileTimes = new WeakMap<LedJob, number>();

function exchangeOf(ranks: number, { senders, next, tokens, count }: Exchange, tiles: number): Schedule {
  const sentTokens = tokens * count;
  const own = sentTokens + tileTokens;
  const problem = problemOn(ranks, [ranks * own], "forward");
  const layout = Array.from({ length: ranks }, (_, rank) => [{ begin: rank * own, end: (rank + 1) * own }]);
  const builder = new ScheduleBuilder(problem, "exchange", {}, layout);
  const senderTo = new Map(senders.map((rank) => [next(rank), rank]));
  const sent = (rank: number, message: number) => {
    const begin = rank * own + message * tokens;
    return [builder.block("k", { begin, end: begin + tokens })];
  };
  for (let rank = 0; rank < ranks; rank++) {
    const from = senderTo.get(rank);
    for (let message = 0; message < count; message++) {
      builder
        .rank(rank)
        .exchange("p2p", [
          ...(senders.includes(rank) ? [{ to: next(rank), blocks: sent(rank, message) }] : []),
          ...(from === undefined ? [] : [{ from, blocks: sent(from, message) }]),
        ]);
    }
    const begin = rank * own + sentTokens;
    const square = { qBegin: begin, qEnd: begin + tileTokens, kBegin: begin, kEnd: begin + tileTokens };
    for (let tile = 0; tile < tiles; tile++) builder.rank(rank).attend({ ...square, mask: "full" });
  }
  // A schedule must compute something: one token's attention is nothing beside what it sends.
  if (tiles === 0) builder.rank(0).attend({ qBegin: 0, qEnd: 1, kBegin: 0, kEnd: 1, mask: "full" });
  return builder.finish();
}

interface MeasuredRate {
  readonly teraflops: number;
  readonly rankTeraflops: readonly number[];
  readonly slowdown: number;
}

/** Every rank computes a document of its own, of one tile for each head: how fast, over all samples taken. */
class RateSamples {
  readonly #led: LedJob;
  readonly #schedule: Schedule;
  /** Microseconds of each rank's tiles, by sample. */
  readonly #samples: number[][] = [];

  constructor(led: LedJob, pass: Pass) {
    this.#led = led;
    this.#schedule = ownDocuments(led.world.ranks, pass);
  }

  async take(options: MeasureClusterOptions): Promise<void> {
    const firstOps = this.#schedule.opBegin.subarray(0, this.#led.world.ranks);
    const took = ({ beginUs, endUs }: Trace) => Array.from(firstOps, (op) => endUs[op] - beginUs[op]);
    this.#samples.push(...(await samplesOf(this.#led, this.#schedule, options, took)));
  }

  rate(): MeasuredRate {
    const { ranks } = this.#led.world;
    const flops = flopsOf(this.#schedule.problem) / ranks;
    const { threads } = hardwareOf(presetCluster("local"));
    if (threads === undefined) throw new Error("the hardware file of this machine has no threads");
    const [opUs] = processOpUs(this.#schedule, undefined, { slowdown: { forward: 1, backward: 1 } }, threads);
    // A step waits for the rank that comes last.
    const us = median(this.#samples.map((sample) => Math.max(...sample)));
    const usOf = (rank: number) => median(this.#samples.map((sample) => sample[rank]));
    return {
      teraflops: flops / us / 1e6,
      rankTeraflops: Array.from({ length: ranks }, (_, rank) => flops / usOf(rank) / 1e6),
      slowdown: us / opUs,
    };
  }
}

/** A document of 1536 tokens on each rank. */
function ownDocuments(ranks: number, pass: Pass): Schedule {
  const tokens = 1536;
  const heads = { heads: 8, kvHeads: 1, headDim: 128, dtype: "fp32" } as const;
  const lengths = new Array<number>(ranks).fill(tokens);
  const problem: Problem = { ...problemOn(ranks, lengths, pass), shape: heads };
  const layout = lengths.map((length, rank) => [{ begin: rank * length, end: (rank + 1) * length }]);
  const builder = new ScheduleBuilder(problem, reference.name, {}, layout);
  for (let rank = 0; rank < ranks; rank++) {
    const [{ begin, end }] = layout[rank];
    builder.rank(rank).attend({ qBegin: begin, qEnd: end, kBegin: begin, kEnd: end, mask: "causal" });
  }
  return builder.finish();
}

/** Median over repeats of what `timeOf` reads from a run's trace; its duration where left out. */
async function medianUs(
  led: LedJob,
  schedule: Schedule,
  options: SampleOptions,
  timeOf: (trace: Trace) => number = ({ durationUs }) => durationUs,
): Promise<number> {
  return median(await samplesOf(led, schedule, options, timeOf));
}

type SampleOptions = Pick<MeasureClusterOptions, "repeats" | "signal">;

/** What `read` takes from the trace of each repeat. */
async function samplesOf<T>(
  led: LedJob,
  schedule: Schedule,
  { repeats, signal }: SampleOptions,
  read: (trace: Trace) => T,
): Promise<T[]> {
  const compiled = inspect(schedule, 0);
  const { heads, headDim } = schedule.problem.shape;
  const tokens = schedule.problem.batch.cuSeqlens.at(-1) as number;
  // What is computed does not matter here, only how fast.
  const saved =
    schedule.problem.pass === "backward"
      ? { saved: { o: new Float32Array(heads * tokens * headDim), lse: new Float32Array(heads * tokens) } }
      : {};
  const samples: T[] = [];
  let knownDigest: string | undefined;
  for (let repeat = 0; repeat <= repeats; repeat++) {
    const options = { seed: 1, ...saved, ...(knownDigest !== undefined && { knownDigest }), ...(signal && { signal }) };
    const { trace, digest } = await led.run(compiled, options);
    knownDigest = digest;
    // The first run makes connections and pages.
    if (repeat > 0) samples.push(read(trace));
  }
  return samples;
}

function problemOn(ranks: number, lengths: readonly number[], pass: Pass): Problem {
  return { batch: packedBatch(lengths), shape, cluster: clusterOf({ ranks }), mask: "causal", pass };
}
