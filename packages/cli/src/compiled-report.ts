import { type Compiled, formatDegrees } from "@hsap/bench";
import { type Degrees, worldSizeOf } from "@hsap/schedule";
import { documentsOf, tokensOf } from "@hsap/workload";
import { megabytes, shortNumber } from "./table.ts";

/** What `hsap compile --json` prints. Names are stable; byte counts are exact. */
export interface CompiledReport {
  readonly strategy: string;
  readonly degrees: Degrees;
  readonly ranks: number;
  readonly documents: number;
  readonly tokens: number;
  readonly pass: string;
  /** Highest rank / mean over ranks, of (query, key, head) triples and of owned tokens. */
  readonly balance: { readonly area: number; readonly tokens: number };
  readonly receivedBytes: { readonly total: number; readonly mean: number; readonly max: number };
  readonly betweenNodesBytes: number;
  readonly bytesByLevel: readonly { readonly level: string; readonly bytes: number }[];
  readonly peakBytes: { readonly mean: number; readonly max: number };
  /** Of all ranks together. */
  readonly groups: number;
  readonly ops: number;
  readonly compileMs: number;
  readonly verifyMs: number;
  readonly verified: boolean;
  /** One line for each rule that the schedule breaks. */
  readonly findings: readonly string[];
}

export function compiledReport({
  schedule,
  account,
  lowered,
  findings,
  compileMs,
  verifyMs,
}: Compiled): CompiledReport {
  const { problem } = schedule;
  const { total, mean, max } = account.receivedBytes;
  const { arenaBytes } = lowered.rank;
  return {
    strategy: schedule.strategy,
    degrees: schedule.degrees,
    ranks: worldSizeOf(schedule),
    documents: documentsOf(problem.batch),
    tokens: tokensOf(problem.batch),
    pass: problem.pass,
    balance: { area: account.area.balance, tokens: account.tokens.balance },
    receivedBytes: { total, mean, max },
    betweenNodesBytes: account.betweenNodesBytes,
    bytesByLevel: problem.cluster.levels.map(({ name }, i) => ({ level: name, bytes: account.bytesByLevel[i] })),
    peakBytes: {
      mean: arenaBytes.reduce((sum, bytes) => sum + bytes, 0) / arenaBytes.length,
      max: Math.max(...arenaBytes),
    },
    groups: account.groups.total,
    ops: account.ops.total,
    compileMs,
    verifyMs,
    verified: findings.length === 0,
    findings: findings.map(({ message }) => message),
  };
}

/** The report as lines that a person reads. */
export function formatCompiledReport(report: CompiledReport): string {
  const { balance, receivedBytes, peakBytes } = report;
  const levels = report.bytesByLevel.map(({ level, bytes }) => `${level} ${megabytes(bytes)}`).join(", ");
  const lines = [
    ["strategy", `${report.strategy} ${formatDegrees(report.degrees)}, ${report.pass}`],
    ["ranks", `${report.ranks}`],
    ["documents", `${report.documents} of ${report.tokens} tokens together`],
    ["balance", `area ${balance.area.toFixed(3)}, tokens ${balance.tokens.toFixed(3)} (highest rank / mean)`],
    [
      "received",
      `mean ${megabytes(receivedBytes.mean)}, highest ${megabytes(receivedBytes.max)}, all ${megabytes(receivedBytes.total)} MB`,
    ],
    ["by level", `${levels} MB (between nodes ${megabytes(report.betweenNodesBytes)} MB)`],
    ["peak memory", `mean ${megabytes(peakBytes.mean)}, highest ${megabytes(peakBytes.max)} MB`],
    ["schedule", `${report.ops} ops, ${report.groups} groups of transfers`],
    ["time", `compiled in ${shortNumber(report.compileMs)} ms, verified in ${shortNumber(report.verifyMs)} ms`],
    ["verdict", report.verified ? "every rule holds" : `WRONG: ${report.findings.length} findings`],
    ...report.findings.slice(0, 10).map((finding) => ["finding", finding]),
  ];
  return `${lines.map(([name, text]) => `${name.padEnd(12)} ${text}`).join("\n")}\n`;
}
