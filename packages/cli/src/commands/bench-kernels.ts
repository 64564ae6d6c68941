import { benchKernels, type KernelBench, type KernelBenchRow, type LengthMix } from "@hsap/engine";
import { lengthsOf, mixPack, namedPack, type PackedBatch, packedBatch, tokensOf } from "@hsap/workload";
import { tableHeader } from "../header.ts";
import { interruptible } from "../interruption.ts";
import { KernelPeer, type PeerProblem, peerBytesLimit, peerBytesOf } from "../kernel-peer.ts";
import { commaList, oneOf, wholeNumber } from "../option-values.ts";
import type { BenchKernelsOptions, CommandContext } from "../program.ts";
import { type Progress, startProgress } from "../progress.ts";
import { formatTable, shortError, shortNumber } from "../table.ts";

const minSampleMs = 20;
/** A run shorter than this shows no progress. */
const patienceMs = 2000;

interface NamedDocuments {
  readonly name: string;
  readonly batch: PackedBatch;
}

export interface KernelReport extends Omit<KernelBench, "rows"> {
  readonly repeats: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly rows: readonly (KernelBenchRow & { readonly peer: number | null })[];
  /** What the peer was not timed on, one line each. */
  readonly leftOut: readonly string[];
}

/** `hsap bench kernels`: the native kernels against the peak of this processor, and against a peer. */
export async function benchKernelsCommand(options: BenchKernelsOptions, context: CommandContext): Promise<void> {
  const { output, version } = context;
  const report = await measure(options, context);
  output.out(options.json ? `${JSON.stringify(report, null, 2)}\n` : formatKernels(report, version));
}

async function measure(options: BenchKernelsOptions, { output }: CommandContext): Promise<KernelReport> {
  const documents = documentsFrom(options);
  const cases = {
    isas: listOf("isa", options.isa ?? "", ["scalar", "avx2", "avx512", "avx512bf16"]),
    dtypes: listOf("dtype", options.dtype ?? "fp32", ["fp32", "bf16"]),
    headDims: numbersOf("head-dim", options.headDim ?? "64,128"),
    masks: listOf("mask", options.mask ?? "causal", ["full", "causal"]),
    passes: listOf("pass", options.pass ?? "forward,backward", ["forward", "backward"]),
    mixes: documents.map(({ name, batch }): LengthMix => ({ name, lengths: lengthsOf(batch) })),
    heads: wholeNumber("heads", options.heads ?? "1"),
    kvHeads: wholeNumber("kv-heads", options.kvHeads ?? "1"),
    repeats: wholeNumber("repeats", options.repeats ?? "5"),
  };
  if (options.peer !== undefined) oneOf("peer", options.peer, ["onnxruntime"]);
  const timed = cases.passes.includes("forward") && cases.dtypes.includes("fp32");
  const { heads, kvHeads } = cases;
  const problems: PeerProblem[] = documents.flatMap(({ name, batch }) =>
    cases.headDims.flatMap((headDim) =>
      cases.masks.map((mask) => ({ mix: name, batch, shape: { heads, kvHeads, headDim }, mask })),
    ),
  );
  const peer =
    options.peer === undefined
      ? undefined
      : await KernelPeer.open(timed ? problems : [], (line) => output.err(`bench: ${line}\n`));

  const progress = patientProgress(output);
  try {
    const result = await interruptible(
      () => "interrupted: nothing is kept of a benchmark; start it again",
      (signal) =>
        benchKernels({
          ...cases,
          minSampleMs,
          signal,
          onProgress: progress.update,
          afterRound: async () => peer?.sampleAll(signal, minSampleMs),
        }),
    );
    return {
      repeats: cases.repeats,
      heads,
      kvHeads,
      peaks: result.peaks,
      copyBandwidthGBps: result.copyBandwidthGBps,
      rows: result.rows.map((row) => ({ ...row, peer: peer?.gflopsOf(row) ?? null })),
      leftOut: (peer?.leftOut ?? []).map(leftOutLine),
    };
  } finally {
    await progress.stop();
  }
}

/** Single documents, packs and mixes, in the order: lengths, packs, mixes. */
function documentsFrom({ tokens, pack, mix, ...options }: BenchKernelsOptions): NamedDocuments[] {
  const given = tokens !== undefined || pack !== undefined || mix !== undefined;
  const lengths = numbersOf("tokens", tokens ?? (given ? "" : "512,4096"));
  const packTokens = wholeNumber("pack-tokens", options.packTokens ?? "8192");
  const packs = split(pack ?? (given ? "" : "instruct-8"));
  return [
    ...lengths.map((length) => ({ name: "single", batch: packedBatch([length]) })),
    ...packs.map((name) => ({ name, batch: cutTo(packTokens, namedPack(name)) })),
    ...split(mix ?? "").map((name) => ({ name, batch: mixPack(name, { tokens: packTokens, seed: 1 }) })),
  ];
}

/** The first documents of a pack, the last one cut. */
function cutTo(tokens: number, batch: PackedBatch): PackedBatch {
  const kept: number[] = [];
  let left = tokens;
  for (const length of lengthsOf(batch)) {
    if (left === 0) break;
    kept.push(Math.min(length, left));
    left -= kept[kept.length - 1];
  }
  return packedBatch(kept);
}

function split(list: string): string[] {
  return list === "" ? [] : commaList(list);
}

function listOf<Word extends string>(name: string, list: string, words: readonly Word[]): Word[] {
  return [...new Set(split(list).map((word) => oneOf(name, word, words)))];
}

function numbersOf(name: string, list: string): number[] {
  return [...new Set(split(list).map((word) => wholeNumber(name, word)))];
}

/** Starts to show progress only where a run takes its time. */
function patientProgress(output: CommandContext["output"]) {
  const began = performance.now();
  let shown: Promise<Progress> | undefined;
  return {
    update: (done: number, total: number) => {
      if (performance.now() - began < patienceMs) return;
      shown ??= startProgress(output, began);
      void shown.then((progress) => progress.update(done / total, `${done} of ${total} samples`));
    },
    stop: async () => (await shown)?.stop(),
  };
}

function leftOutLine(problem: PeerProblem): string {
  const gib = (bytes: number) => `${shortNumber(bytes / 2 ** 30)} GiB`;
  return (
    `${problem.mix} of ${tokensOf(problem.batch)} tokens, headDim ${problem.shape.headDim}, ${problem.mask}: its mask and scores ` +
    `take about ${gib(peerBytesOf(problem))} (at most ${gib(peerBytesLimit)})`
  );
}

function formatKernels(report: KernelReport, version: string): string {
  const { rows, peaks, copyBandwidthGBps, leftOut, repeats, heads, kvHeads } = report;
  const header = tableHeader(
    version,
    `medians of ${repeats} interleaved rounds, ${headsLine(heads, kvHeads)}, 1 thread, by processor time`,
    "origin: measured",
    ...peaks.map(({ isa, dtype, gflops }) => `peak: ${isa} ${dtype} ${shortNumber(gflops)} GFLOP/s, on registers only`),
    `copy: ${shortNumber(copyBandwidthGBps)} GB/s, read and written`,
  );
  const hasPeer = rows.some(({ peer }) => peer !== null);
  const left = { align: "left" } as const;
  const table = formatTable<KernelReport["rows"][number]>(
    [
      { title: "isa", ...left, value: ({ isa }) => isa },
      { title: "dtype", ...left, value: ({ dtype }) => dtype },
      { title: "headDim", value: ({ headDim }) => String(headDim) },
      { title: "mask", ...left, value: ({ mask }) => mask },
      { title: "pass", ...left, value: ({ pass }) => pass },
      { title: "tokens", value: ({ tokens }) => String(tokens) },
      { title: "mix", ...left, value: ({ mix }) => mix },
      { title: "rate", unit: "GFLOP/s", value: ({ gflops }) => shortNumber(gflops) },
      { title: "share", unit: "% of peak", value: ({ shareOfPeak }) => (shareOfPeak * 100).toFixed(1) },
      { title: "error", unit: "rel. L2", value: ({ error }) => shortError(error) },
      ...(hasPeer
        ? [
            { title: "peer", unit: "GFLOP/s", value: ({ peer }: Ratio) => (peer === null ? "-" : shortNumber(peer)) },
            { title: "/peer", value: ({ gflops, peer }: Ratio) => (peer === null ? "-" : shortNumber(gflops / peer)) },
          ]
        : []),
    ],
    rows,
  );
  const lines = [...leftOut.map((line) => `# without peer: ${line}`), `# ${rows.length} cases`];
  return `${header}${table}${lines.join("\n")}\n`;
}

function headsLine(heads: number, kvHeads: number): string {
  return heads === 1 ? "1 head" : `${heads} heads (${kvHeads} for keys and values)`;
}

type Ratio = Pick<KernelReport["rows"][number], "gflops" | "peer">;
