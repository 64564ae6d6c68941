import { cpus } from "node:os";
import { reference } from "@hsap/baselines";
import { clusterOf } from "@hsap/cluster";
import { run } from "@hsap/engine";
import { layoutOf, type Pass, type Problem, ScheduleBuilder, tilesBetween } from "@hsap/schedule";
import { type KernelPass, paidPairs } from "@hsap/simulator";
import { packedBatch } from "@hsap/workload";
import { expectedOf, savedFrom } from "../accuracy.ts";

/** What was measured of this machine: processor times of the engine's kernels, and messages between two of its threads. */
export interface MachineProfile {
  readonly device: string;
  readonly isa: string;
  readonly kernels: Readonly<Record<Pass, KernelFit>>;
  /** Bytes a second of one thread that copies a message, in 1e9, and the time of a message without bytes. */
  readonly copyGBps: number;
  readonly latencyUs: number;
}

export interface KernelFit {
  /** On endless tiles, in 1e12 operations a second. */
  readonly teraflops: number;
  readonly overheadTokens: number;
  /** Highest error of a measured time that the two numbers leave, relative. */
  readonly worstError: number;
  readonly samples: readonly { readonly documentTokens: number; readonly us: number }[];
}

const shape = { heads: 4, kvHeads: 2, headDim: 64, dtype: "fp32" } as const;
const packTokens = 2048;
const documentTokens = [16, 64, 256, 1024, 2048];
/** Rows and columns of the engine's register tiles. */
const registerTile = { tileRows: 16, tileColumns: 16 };

/** Measures this machine; the best of `repeats` runs counts, as whatever else runs only ever adds time. */
export async function measureMachine(repeats = 3): Promise<MachineProfile> {
  const { isa, ...copies } = await measureCopies(repeats);
  return {
    device: cpus()[0]?.model.trim() ?? "unknown processor",
    isa,
    kernels: { forward: await fitKernel("forward", repeats), backward: await fitKernel("backward", repeats) },
    ...copies,
  };
}

/** The profile as a cluster file: threads of this machine, whose peak is what the forward kernel reaches. */
export function clusterFileOf({ device, kernels, copyGBps, latencyUs }: MachineProfile, ranks = 8): string {
  const link = (name: string, size: number) => `  - name: ${name}
    size: ${size}
    bandwidthGBps: { value: ${short(copyGBps)}, source: "measured: one thread copying a message" }
    latencyUs: { value: ${short(latencyUs)}, source: "measured: a message of one token between two threads" }`;
  return `# Measured on this machine by hsap calibrate.
name: this-machine
levels:
${link("node", 4)}
${link("machine", Math.ceil(ranks / 4))}
device:
  name: ${JSON.stringify(device)}
  dtype: fp32
  peakTflops: { value: ${short(kernels.forward.teraflops)}, source: "measured: the forward kernel on endless tiles" }
  memoryBandwidthGBps: { value: ${short(copyGBps)}, source: "measured: one thread copying a message" }
`;
}

/** The profile as a hardware file. */
export function hardwareFileOf({ device, isa, kernels }: MachineProfile): string {
  const from = (what: string) => `source: "measured on this machine: ${what}"`;
  const none = `{ value: 0, source: "an op is a function call" }`;
  const pass = (name: Pass) => `    ${name}:
      shareOfPeak: { value: ${short(kernels[name].teraflops / kernels.forward.teraflops)}, ${from(`${isa} kernels, relative to forward`)} }
      tileRows: { value: ${registerTile.tileRows}, source: "rows of a register tile" }
      tileColumns: { value: ${registerTile.tileColumns}, source: "one vector of fp32" }
      overheadTokens: { value: ${kernels[name].overheadTokens}, ${from(`documents of ${documentTokens.join(", ")} tokens`)} }
${["launchUs", "emptyBlockUs", "hostUs", "queryPasses", "keyPasses", "accumulatePasses"].map((key) => `      ${key}: ${none}`).join("\n")}`;
  return `# Measured on this machine by hsap calibrate.
devices: [${JSON.stringify(device)}]
dtype: fp32
kernels:
  engine:
${pass("forward")}
${pass("backward")}
memory:
  copyShare: { value: 1, source: "the cluster file's memory bandwidth is that of copies" }
  launchUs: ${none}
libraries:
  threads:
${["launchUs", "collectiveHostUs", "p2pHostUs"].map((key) => `    ${key}: ${none}`).join("\n")}
    slowdown: { value: 1, source: "not measured" }
    ranksPerNic: { value: 1, source: "there are no cards" }
    hopUs: { value: [0, 0], source: "as launchUs" }
    pairShare: { value: [1, 1], source: "a transfer is one copy" }
    collectives: {}
`;
}

async function fitKernel(pass: Pass, repeats: number): Promise<KernelFit> {
  const samples: { documentTokens: number; us: number }[] = [];
  for (const tokens of documentTokens)
    samples.push({ documentTokens: tokens, us: await kernelUs(pass, tokens, repeats) });
  let best: KernelFit | undefined;
  for (let overheadTokens = 0; overheadTokens <= 80; overheadTokens += 2) {
    const rates = samples.map(
      ({ documentTokens: tokens, us }) => operations(pass, tokens, overheadTokens) / (us * 1e6),
    );
    // The rate in the middle of the extremes leaves the smallest worst error.
    const teraflops = Math.sqrt(Math.min(...rates) * Math.max(...rates));
    const worstError = Math.max(...rates) / teraflops - 1;
    if (best === undefined || worstError < best.worstError) best = { teraflops, overheadTokens, worstError, samples };
  }
  return best as KernelFit;
}

/** Operations that the model says a pack of equal documents pays for. */
function operations(pass: Pass, tokens: number, overheadTokens: number): number {
  const tile = { qBegin: 0, qEnd: tokens, kBegin: 0, kEnd: tokens, mask: "causal" as const };
  const kernel: KernelPass = {
    ...registerTile,
    overheadTokens,
    ...{ shareOfPeak: 1, launchUs: 0, emptyBlockUs: 0, hostUs: 0, queryPasses: 0, keyPasses: 0, accumulatePasses: 0 },
  };
  const perPair = 4 * shape.headDim * (pass === "forward" ? 1 : 2.5);
  return (packTokens / tokens) * paidPairs(tile, pass, kernel) * shape.heads * perPair;
}

async function kernelUs(pass: Pass, tokens: number, repeats: number): Promise<number> {
  const problem = onRanks(1, new Array<number>(packTokens / tokens).fill(tokens), pass);
  const schedule = reference.compile(problem, {});
  const saved = pass === "backward" ? { saved: savedFrom(await expectedOf(problem, 1, 1)) } : {};
  let least = Number.POSITIVE_INFINITY;
  for (let i = 0; i <= repeats; i++) {
    const { trace } = await run(schedule, { seed: 1, ...saved });
    // The first run warms up.
    if (i > 0)
      least = Math.min(
        least,
        trace.busyUs.reduce((sum, us) => sum + us, 0),
      );
  }
  return least;
}

/** One rank hands keys and values to another: a large message for the rate, one of a single token for the latency. */
async function measureCopies(repeats: number) {
  const large = await messageUs(8 * packTokens, repeats);
  const small = await messageUs(1, 10 * repeats);
  return { isa: large.isa, copyGBps: large.bytes / (large.us * 1e3), latencyUs: small.us };
}

async function messageUs(tokens: number, repeats: number) {
  const problem = onRanks(2, [tokens, tokens], "forward");
  const halves = [
    { begin: 0, end: tokens },
    { begin: tokens, end: 2 * tokens },
  ];
  const builder = new ScheduleBuilder(problem, "message", {}, layoutOf(halves.map((half) => [half])));
  const blocks = ["k", "v"].map((name) => builder.block(name, halves[0]));
  builder.rank(0).exchange("p2p", [{ to: 1, blocks }]);
  builder.rank(1).exchange("p2p", [{ from: 0, blocks }]);
  // A schedule must compute something; one token's attention is nothing beside the message.
  const [tile] = tilesBetween(problem.batch, "causal", { begin: 0, end: 1 }, { begin: 0, end: 1 });
  builder.rank(0).attend(tile);
  const schedule = builder.finish();
  const receive = schedule.opBegin[1];
  let us = Number.POSITIVE_INFINITY;
  let isa = "";
  for (let i = 0; i < repeats; i++) {
    const result = await run(schedule, { seed: 1, handOver: "copy" });
    us = Math.min(us, result.trace.endUs[receive] - result.trace.beginUs[receive]);
    isa = result.isa;
  }
  return { us, isa, bytes: tokens * 2 * shape.kvHeads * shape.headDim * 4 };
}

function onRanks(ranks: number, lengths: readonly number[], pass: Pass): Problem {
  return {
    batch: packedBatch(lengths),
    shape,
    cluster: clusterOf({ ranks, ranksPerNode: ranks }),
    mask: "causal",
    pass,
  };
}

const short = (value: number): string => String(Number(value.toPrecision(3)));
