import type { Environment, ExperimentResult, Interval, SummaryRow } from "@hsap/bench";
import { type Column, formatTable, megabytes, shortError, shortNumber } from "./table.ts";

/** The summary of an experiment as tables, one for each pass, and what their columns mean. */
export function formatSummary(result: ExperimentResult, rows: readonly SummaryRow[], version: string): string {
  const passes = [...new Set(rows.map(({ pass }) => pass))];
  const tables = passes.map((pass) => {
    const ofPass = rows.filter((row) => row.pass === pass);
    return `#\n# ${pass}\n${formatTable(columns(result.experiment.baseline), ofPass)}`;
  });
  return `${header(result, version)}${tables.join("")}${footer(result, rows)}`;
}

function header({ experiment, environment }: ExperimentResult, version: string): string {
  const { sweep } = experiment;
  const nodes = Math.ceil(sweep.ranks / sweep.ranksPerNode);
  const lines = [
    `hsap ${version}, node ${environment.node}, ${environment.compiler}, kernels ${environment.isa}`,
    `${environment.cpu}, ${environment.cores} cores`,
    ...rankLines(environment),
    `arguments: ${environment.arguments.join(" ") || "none"}`,
    `${experiment.title}: profile ${experiment.profile}, origin measured`,
    `${sweep.ranks} ranks in ${nodes} nodes of ${sweep.ranksPerNode}, ${sweep.tokens} tokens, ${sweep.heads} heads, ${sweep.kvHeads} kv heads of ${sweep.headDim}, ${sweep.dtype}, ${sweep.mask}`,
  ];
  return lines.map((line) => `# ${line}\n`).join("");
}

/** Ranks that are processes: one line for those that follow one another on a host. */
function rankLines({ job }: Environment): string[] {
  const lines: { first: number; last: number; where: string }[] = [];
  for (const { rank, host, cpus } of job?.ranks ?? []) {
    const where = `on ${host}${cpus === "" ? "" : `, processors ${cpus}`}`;
    const line = lines.at(-1);
    if (line?.where === where) line.last = rank;
    else lines.push({ first: rank, last: rank, where });
  }
  return lines.map(
    ({ first, last, where }) =>
      `rank${first === last ? "" : "s"} ${first === last ? first : `${first} to ${last}`} ${where}`,
  );
}

function columns(baseline: string): readonly Column<SummaryRow>[] {
  return [
    { title: "mix", align: "left", value: ({ mix }) => mix },
    { title: "strategy", align: "left", value: ({ variant }) => variant },
    { title: "wall", unit: "ms", value: ({ wallMs }) => shortNumber(wallMs) },
    { title: "rank cpu", unit: "ms", value: ({ busiestRankMs }) => shortNumber(busiestRankMs) },
    { title: "critical", unit: "ms", value: ({ criticalPathMs }) => shortNumber(criticalPathMs) },
    { title: "chain", unit: "ms", value: ({ longestChainMs }) => shortNumber(longestChainMs) },
    { title: "received", unit: "MB", value: ({ receivedBytesMax }) => megabytes(receivedBytesMax) },
    { title: "cross-node", unit: "MB", value: ({ betweenNodesBytes }) => megabytes(betweenNodesBytes) },
    { title: "balance", unit: "area", value: ({ areaBalance }) => areaBalance.toFixed(2) },
    { title: `wall/${baseline}`, unit: "95 %", value: ({ wallRatio }) => ratio(wallRatio) },
    { title: `critical/${baseline}`, unit: "95 %", value: ({ criticalPathRatio }) => ratio(criticalPathRatio) },
    { title: "error", unit: "rel L2", value: ({ worstError }) => shortError(worstError) },
    { title: "#wrong", value: ({ wrong }) => `${wrong}` },
  ];
}

function ratio(interval: Interval | undefined): string {
  if (interval === undefined) return "1";
  const { estimate, low, high } = interval;
  return `${estimate.toFixed(2)} [${low.toFixed(2)}, ${high.toFixed(2)}]`;
}

function footer({ experiment, environment, refused, trials }: ExperimentResult, rows: readonly SummaryRow[]): string {
  const { ranks } = experiment.sweep;
  const { cores, mpi } = environment;
  const wrong = rows.reduce((sum, row) => sum + row.wrong, 0);
  const processes = `ranks are processes over ${mpi?.library}; where some of them share a core, wall hides imbalance`;
  const shared =
    mpi !== undefined
      ? processes
      : ranks > cores
        ? `${ranks} ranks share ${cores} cores here: wall is mostly the sum of all ranks' work, and hides imbalance`
        : `each of the ${ranks} ranks can have a core of its own`;
  const lines = [
    ...refused.map(({ strategy, reason }) => `refused by ${strategy}: ${reason}`),
    `medians over repeats and packs. ${shared}.`,
    "wall: measured, from all ranks ready to the last one finished.",
    "rank cpu: processor time of the busiest rank's own threads, computation and communication.",
    "critical: critical path, through the slowest rank of each stage: what the step would take with a core for each rank and",
    "  free transfers, where a rank waits at each group of transfers for those that send to it. Shows what wall hides.",
    "chain: the same with all the overlap that the schedule allows; no run with a core for each rank could be faster.",
    "received: highest rank; cross-node: all bytes between nodes; balance: highest / mean (query, key) pairs. Counted, not timed.",
    `ratios: median of paired runs (same pack, same repeat) to ${experiment.baseline}, with the bootstrap's 95 % interval; below 1 is faster.`,
    `error: worst relative L2 error against non-parallel attention in float64. #wrong: trials above the bound, or with other bits.`,
    `${trials.length} trials (${experiment.sweep.repeats} repeats of each row), verdict: ${wrong === 0 ? "ok" : `WRONG: ${wrong}`}`,
  ];
  return `#\n${lines.map((line) => `# ${line}\n`).join("")}`;
}
