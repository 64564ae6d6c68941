import type { ComparedStrategy, Comparison, LeftOut } from "@hsap/bench";
import { formatDegrees } from "@hsap/bench";
import { nodesOf, ranksPerNode } from "@hsap/cluster";
import type { AttentionShape, Mask, Pass } from "@hsap/schedule";
import { ranksOf } from "@hsap/schedule";
import { documentsOf, tokensOf } from "@hsap/workload";
import { tableHeader } from "./header.ts";
import { type Column, formatTable, megabytes, shortNumber } from "./table.ts";

/** What `hsap compare --json` prints. Names are stable; byte counts are exact. */
export interface ComparedReport {
  readonly problem: AttentionShape & {
    readonly documents: number;
    readonly tokens: number;
    readonly ranks: number;
    readonly nodes: number;
    readonly ranksPerNode: number;
    readonly cluster: string;
    readonly mask: Mask;
    readonly pass: Pass;
  };
  readonly bounds: Comparison["bounds"];
  /** Names of the levels that `bytesByLevel` counts, innermost first. */
  readonly levels: readonly string[];
  readonly strategies: readonly ReportedStrategy[];
  readonly refused: readonly LeftOut[];
  readonly tooLarge: readonly LeftOut[];
}

export interface ReportedStrategy extends ComparedStrategy {
  /** To the bounds, and of the critical path to the best strategy; none where the bound is 0 or nothing was measured. */
  readonly ratio: {
    readonly receivedToBound?: number;
    readonly betweenNodesToBound?: number;
    readonly timeToBest?: number;
    readonly timeToBound?: number;
    readonly predictedToBest?: number;
    readonly predictedToFloor?: number;
  };
  /** `ok`, or what is wrong first. */
  readonly verdict: string;
}

export function comparedReport({ problem, bounds, rows, refused, tooLarge }: Comparison): ComparedReport {
  const { cluster, batch, shape, mask, pass } = problem;
  const lowest = (times: readonly (number | undefined)[]) => {
    const known = times.filter((time) => time !== undefined);
    return known.length === 0 ? undefined : Math.min(...known);
  };
  const best = {
    measured: lowest(rows.map(({ measured }) => measured?.criticalPathMs)),
    predicted: lowest(rows.map(({ predicted }) => predicted?.stepMs)),
  };
  return {
    problem: {
      documents: documentsOf(batch),
      tokens: tokensOf(batch),
      ranks: ranksOf(problem),
      nodes: nodesOf(cluster),
      ranksPerNode: ranksPerNode(cluster),
      cluster: cluster.name,
      ...shape,
      mask,
      pass,
    },
    bounds,
    levels: cluster.levels.map(({ name }) => name),
    strategies: rows.map((row) => ({ ...row, ratio: ratiosOf(row, bounds, best), verdict: verdictOf(row) })),
    refused,
    tooLarge,
  };
}

interface BestTimes {
  readonly measured: number | undefined;
  readonly predicted: number | undefined;
}

function ratiosOf(row: ComparedStrategy, bounds: Comparison["bounds"], best: BestTimes): ReportedStrategy["ratio"] {
  const time = row.measured?.criticalPathMs;
  const ratios = {
    receivedToBound: ratio(row.receivedBytes.mean, bounds.receivedBytesMean),
    betweenNodesToBound: ratio(row.betweenNodesBytes, bounds.betweenNodesBytes),
    timeToBest: ratio(time, best.measured),
    timeToBound: ratio(time, bounds.computeFloorMs),
    predictedToBest: ratio(row.predicted?.stepMs, best.predicted),
    predictedToFloor: ratio(row.predicted?.stepMs, bounds.predictedFloorMs),
  };
  return Object.fromEntries(Object.entries(ratios).filter(([, value]) => value !== undefined));
}

const ratio = (value: number | undefined, of: number | undefined): number | undefined =>
  value === undefined || of === undefined || of === 0 ? undefined : value / of;

function verdictOf({ findings, measured, contaminatedArea, area }: ComparedStrategy): string {
  const [finding] = findings;
  if (contaminatedArea > 0) return `WRONG: ${percent(contaminatedArea / area)} of its pairs are contaminated`;
  if (finding !== undefined) return `WRONG: ${finding}`;
  return measured?.fault === undefined ? "ok" : `WRONG: ${measured.fault}`;
}

/** The comparison as a table with the bounds below it. */
export function formatComparison(report: ComparedReport, version: string): string {
  const { problem, strategies } = report;
  const isMeasured = strategies.some(({ measured }) => measured !== undefined);
  const header = tableHeader(
    version,
    `${problem.documents} documents of ${problem.tokens} tokens, ${problem.ranks} ranks in ${problem.nodes} nodes (${problem.cluster}), ` +
      `${problem.heads} heads, ${problem.kvHeads} kv heads of ${problem.headDim}, ${problem.dtype}, ${problem.mask}, ${problem.pass}`,
    `origin: ${originOf(report)}`,
  );
  return `${header}${formatTable(columnsOf(report, isMeasured), strategies)}${footer(report, isMeasured)}`;
}

function originOf({ strategies }: ComparedReport): string {
  const times = [
    ...(strategies.some(({ measured }) => measured) ? ["wall and critical measured"] : []),
    ...(strategies.some(({ predicted }) => predicted) ? ["predicted simulated"] : []),
  ];
  return times.length === 0 ? "counted" : `${times.join(", ")}, all else counted`;
}

function columnsOf({ levels, strategies }: ComparedReport, isMeasured: boolean): Column<ReportedStrategy>[] {
  const shown = (value: number | undefined) => (value === undefined ? "-" : shortNumber(value));
  const time: Column<ReportedStrategy>[] = [
    { title: "wall", unit: "ms", value: ({ measured }) => shown(measured?.wallMs) },
    { title: "critical", unit: "ms", value: ({ measured }) => shown(measured?.criticalPathMs) },
    { title: "/best", value: ({ ratio }) => shown(ratio.timeToBest) },
    { title: "/bound", value: ({ ratio }) => shown(ratio.timeToBound) },
  ];
  const simulated: Column<ReportedStrategy>[] = [
    { title: "predicted", unit: "ms", value: ({ predicted }) => shown(predicted?.stepMs) },
    { title: "/best", value: ({ ratio }) => shown(ratio.predictedToBest) },
    { title: "/floor", value: ({ ratio }) => shown(ratio.predictedToFloor) },
    { title: "computing", unit: "ms mean", value: ({ predicted }) => shown(predicted?.computingMs) },
    { title: "exposed", unit: "ms mean", value: ({ predicted }) => shown(predicted?.exposedCommunicationMs) },
    { title: "waiting", unit: "ms mean", value: ({ predicted }) => shown(predicted?.waitingMs) },
  ];
  const isPredicted = strategies.some(({ predicted }) => predicted !== undefined);
  const contaminated = strategies.some(({ contaminatedArea }) => contaminatedArea > 0);
  const padded = strategies.some(({ paddingTokens }) => paddingTokens > 0);
  return [
    { title: "strategy", align: "left", value: nameOf },
    { title: "degrees", align: "left", value: ({ degrees }) => formatDegrees(degrees) },
    ...(isMeasured ? time : []),
    ...(isPredicted ? simulated : []),
    { title: "balance", unit: "area", value: ({ balance }) => balance.area.toFixed(3) },
    { title: "balance", unit: "tokens", value: ({ balance }) => balance.tokens.toFixed(3) },
    { title: "received", unit: "MB mean", value: ({ receivedBytes }) => megabytes(receivedBytes.mean) },
    { title: "received", unit: "MB highest", value: ({ receivedBytes }) => megabytes(receivedBytes.max) },
    { title: "/bound", unit: "mean", value: ({ ratio }) => shown(ratio.receivedToBound) },
    ...levels.map(
      (level, i): Column<ReportedStrategy> => ({
        title: level,
        unit: "MB all",
        value: ({ bytesByLevel }) => megabytes(bytesByLevel[i]),
      }),
    ),
    ...(levels.length > 1
      ? [{ title: "/bound", unit: "nodes", value: ({ ratio }: ReportedStrategy) => shown(ratio.betweenNodesToBound) }]
      : []),
    {
      title: "unneeded",
      unit: "received",
      value: ({ unneededBytes, receivedBytes }) => percent(unneededBytes / (receivedBytes.total || 1)),
    },
    { title: "peak", unit: "MB highest", value: ({ peakBytes }) => megabytes(peakBytes.max) },
    ...(padded ? [{ title: "padding", unit: "tokens", value: (row: ReportedStrategy) => `${row.paddingTokens}` }] : []),
    ...(contaminated
      ? [
          {
            title: "contaminated",
            unit: "area",
            value: ({ contaminatedArea, area }: ReportedStrategy) => percent(contaminatedArea / area),
          },
        ]
      : []),
    { title: "verdict", align: "left", value: ({ verdict }) => verdict },
  ];
}

/** The strategy with its options; degrees have a column of their own. */
const nameOf = ({ strategy, options }: ReportedStrategy): string =>
  [strategy, ...Object.entries(options).map(([name, value]) => `${name}=${value}`)].join(" ");

const percent = (share: number): string => (share === 0 ? "0" : `${(100 * share).toFixed(1)} %`);

function footer({ bounds, refused, tooLarge, problem, strategies }: ComparedReport, isMeasured: boolean): string {
  const wrong = strategies.filter(({ verdict }) => verdict !== "ok").length;
  const isPredicted = bounds.predictedFloorMs !== undefined;
  const untimed = isPredicted ? "predicted time" : "the bytes that the highest rank receives";
  const sorting = isMeasured ? "critical path" : untimed;
  const lines = [
    ...refused.map(({ strategy, reason }) => `refused by ${strategy}: ${reason}`),
    ...tooLarge.map(({ strategy, reason }) => `left out ${strategy}: ${reason}; --all includes it`),
    `bounds: received ${megabytes(bounds.receivedBytesMean)} MB a rank` +
      (problem.nodes > 1 ? `, between nodes ${megabytes(bounds.betweenNodesBytes)} MB in all` : "") +
      ", for equal area on every rank and unsplit heads; a strategy that splits heads, or is unbalanced, may go below",
    ...(bounds.computeFloorMs === undefined
      ? []
      : [
          `compute floor ${shortNumber(bounds.computeFloorMs)} ms: the pass spread evenly over ${problem.ranks} cores, at the highest rate that a strategy here had`,
          "critical: critical path by processor time, with a core for each rank and free transfers; wall is this machine's as it is",
        ]),
    ...(bounds.predictedFloorMs === undefined
      ? []
      : [
          `predicted: simulated on ${problem.cluster}; floor ${shortNumber(bounds.predictedFloorMs)} ms, the pass spread evenly over ranks at its kernel's rate`,
        ]),
    "unneeded: inputs that a rank receives and does not compute with, sent for nothing or to be passed on",
    `sorted by ${sorting}; verdict: ${wrong === 0 ? "ok" : `WRONG: ${wrong} of ${strategies.length}`}`,
  ];
  return `#\n${lines.map((line) => `# ${line}\n`).join("")}`;
}
