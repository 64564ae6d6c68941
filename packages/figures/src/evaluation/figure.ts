import { faultOfTrial, type Trial } from "@hsap/bench";
import { InputError, mixes } from "@hsap/workload";
import { stringify } from "csv-stringify/sync";
import { byteUnit, fullCount, type Unit } from "../drawing/amount.ts";
import { legend } from "../drawing/legend.ts";
import { columnWidth, drawPage } from "../drawing/page.ts";
import { okabeIto } from "../drawing/palette.ts";
import { headings } from "../drawing/panel.ts";
import type { Figure } from "../figure.ts";
import { type Column, columnPanel, labelPanel, layRows, type Point } from "./columns.ts";
import { type Summary, summarize, type Throughput } from "./summary.ts";

export interface EvaluationInput {
  readonly trials: readonly Trial[];
  /** What the trials ran on: `8 ranks as threads on 2 cores of an AMD EPYC`. */
  readonly machine: string;
}

/** Measured and counted values never share a colour. */
const colour = {
  wall: okabeIto.blue,
  criticalPath: okabeIto.vermilion,
  longestChain: okabeIto.green,
  counted: okabeIto.black,
} as const;

/**
 * Figure 5: throughput, bytes and balance by strategy and length mix.
 *
 * @throws InputError if no trial is without fault.
 */
export function drawEvaluation({ trials, machine }: EvaluationInput): Figure {
  const summaries = summarize(trials);
  if (summaries.length === 0) throw new InputError("invalid trials: none is without fault (run the experiment first)");
  const width = columnWidth.double;
  const rows = layRows(summaries, describeMix);
  const columns = columnsOf(summaries);
  const labels = labelPanel(rows, { x: 0, y: top });
  const columnRoom = (width - labels.width) / columns.length;
  const placed = columns.flatMap((column, i) => {
    const x = labels.width + i * columnRoom;
    return [
      ...headings(x, 0, "abcdef"[i], column.title, column.subtitle),
      columnPanel(column, rows, { x, y: top, width: columnRoom }),
    ];
  });
  const svg = drawPage({
    width,
    bodyHeight: top + rows.height,
    title: "Throughput, bytes and balance by strategy and length mix",
    caption: captionOf(trials, machine),
    legend: legend(legendEntries, { width }),
    panels: [labels, ...placed],
  });
  return { number: 5, name: "evaluation", svg, data: { ending: "csv", text: tableOf(summaries) } };
}

const top = 24;

const legendEntries = [
  { label: "wall time (measured)", colour: colour.wall, shape: "dot" },
  {
    label: "critical path, or balance, of CPU time (measured)",
    colour: colour.criticalPath,
    shape: "diamond",
    hollow: true,
  },
  { label: "longest chain of CPU time (measured)", colour: colour.longestChain, shape: "cross" },
  { label: "95 % interval", colour: colour.wall, shape: "interval" },
  { label: "mean of ranks, or balance of pairs (counted)", colour: colour.counted, shape: "dot" },
  { label: "highest rank (counted)", colour: colour.counted, shape: "tick" },
  { label: "mean from other nodes (counted)", colour: colour.counted, shape: "diamond", hollow: true },
] as const;

function columnsOf(summaries: readonly Summary[]): Column[] {
  const columns: Column[] = [];
  const rate = rateUnit(summaries);
  for (const pass of ["forward", "backward"] as const) {
    if (summaries.every(({ throughput }) => throughput[pass] === undefined)) continue;
    const common = { title: pass, axis: rate.name, origin: "measured" };
    const points = (clocks: readonly (keyof Throughput)[]) => (of: Summary) =>
      clocks.flatMap((clock) => throughputPoint(of.throughput[pass], clock, rate.size));
    columns.push({ ...common, subtitle: "wall time", points: points(["wall"]) });
    columns.push({ ...common, subtitle: "a core a rank", points: points(["longestChain", "criticalPath"]) });
  }
  const unit = byteUnit(Math.max(...summaries.map(({ receivedBytes }) => receivedBytes.max)));
  columns.push({
    title: "received",
    subtitle: columns.length > 2 ? "both passes" : columns[0].title,
    axis: `${unit.name} a rank`,
    origin: "counted",
    points: ({ receivedBytes: { mean, max, betweenNodes } }) => [
      { value: max / unit.size, colour: colour.counted, shape: "tick" },
      { value: betweenNodes / unit.size, colour: colour.counted, shape: "diamond" },
      { value: mean / unit.size, colour: colour.counted, shape: "dot" },
    ],
  });
  columns.push({
    title: "balance",
    subtitle: summaries.some(({ throughput }) => throughput.forward) ? "forward" : "backward",
    axis: "highest / mean",
    origin: "counted, measured",
    from: 1,
    points: ({ balance: { area, time } }) => [
      { value: time.estimate, interval: time, colour: colour.criticalPath, shape: "diamond" },
      { value: area, colour: colour.counted, shape: "dot" },
    ],
  });
  return columns;
}

function rateUnit(summaries: readonly Summary[]): Unit {
  const rates = summaries.flatMap(({ throughput }) =>
    Object.values(throughput).flatMap((of) => (of === undefined ? [] : [of.wall.estimate, of.criticalPath.estimate])),
  );
  return Math.max(...rates) >= 1000 ? { name: "TFLOP/s", size: 1000 } : { name: "GFLOP/s", size: 1 };
}

const shapes = { wall: "dot", criticalPath: "diamond", longestChain: "cross" } as const;

function throughputPoint(throughput: Throughput | undefined, clock: keyof Throughput, size: number): Point[] {
  if (throughput === undefined) return [];
  const { estimate, low, high } = throughput[clock];
  const interval = { low: low / size, high: high / size };
  return [{ value: estimate / size, interval, colour: colour[clock], shape: shapes[clock] }];
}

const describeMix = (mix: string): string =>
  Object.hasOwn(mixes, mix) ? mixes[mix as keyof typeof mixes].description : "";

function captionOf(trials: readonly Trial[], machine: string): string {
  const used = trials.filter((trial) => faultOfTrial(trial) === undefined);
  const [first] = used;
  const { heads, kvHeads, headDim, dtype } = first.problem;
  const tokens = [...new Set(used.map(({ problem }) => problem.tokens))].sort((a, b) => a - b);
  const ranks = Math.max(...used.map((trial) => trial.ranks));
  const left = trials.length - used.length;
  return (
    `Medians of ${used.length} trials, each checked against float64${left > 0 ? ` (${left} wrong ones are left out)` : ""}: packs of ` +
    `${tokens.map(fullCount).join(", ")} tokens, ${ranks} ranks in ${Math.ceil(ranks / first.ranksPerNode)} nodes, ` +
    `${heads} query and ${kvHeads} kv heads of ${headDim}, ${dtype}; ${machine}. Wall time is the machine's as it is. ` +
    "A core a rank: the critical path goes through the slowest rank of each stage, by CPU time, with free transfers, where a rank " +
    "waits at each group for those that send to it; the longest chain overlaps all that may. Balance: 1 is best."
  );
}

function tableOf(summaries: readonly Summary[]): string {
  const interval = (name: string, of?: { estimate: number; low: number; high: number; samples: number }) => ({
    [name]: of?.estimate,
    [`${name}Low`]: of?.low,
    [`${name}High`]: of?.high,
    [`${name}Samples`]: of?.samples,
  });
  const rows = summaries.map(({ mix, variant, throughput: { forward, backward }, receivedBytes, balance }) => ({
    mix,
    variant,
    ...interval("forwardWallGflops", forward?.wall),
    ...interval("forwardCriticalPathGflops", forward?.criticalPath),
    ...interval("forwardLongestChainGflops", forward?.longestChain),
    ...interval("backwardWallGflops", backward?.wall),
    ...interval("backwardCriticalPathGflops", backward?.criticalPath),
    ...interval("backwardLongestChainGflops", backward?.longestChain),
    receivedBytesMean: receivedBytes.mean,
    receivedBytesMax: receivedBytes.max,
    betweenNodesBytesMean: receivedBytes.betweenNodes,
    areaBalance: balance.area,
    ...interval("timeBalance", balance.time),
  }));
  return stringify(rows, { header: true });
}
