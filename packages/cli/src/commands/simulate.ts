import { writeFileSync } from "node:fs";
import {
  besidePublished,
  calibrationReport,
  checkedOptions,
  expectedOf,
  formatCalibrationReport,
  formatDegrees,
  savedFrom,
  settledDegrees,
  strategies,
  strategyNamed,
} from "@hsap/bench";
import type { Cluster } from "@hsap/cluster";
import { run } from "@hsap/engine";
import { flopsOf, type Pass, ranksOf, type Schedule, type Strategy, type Trace } from "@hsap/schedule";
import {
  chromeTrace,
  hardwareOf,
  isOwnHardware,
  publishedRows,
  readHardware,
  simulate as runSimulation,
  type Simulation,
} from "@hsap/simulator";
import { InputError } from "@hsap/workload";
import { batchOf, passesOf, problemOf, seedOf } from "../given-problem.ts";
import { parseDegrees, parseStrategyOptions, wholeNumber } from "../option-values.ts";
import { besidePublishedTable } from "../predicted-page.ts";
import type { CommandContext, SimulateOptions } from "../program.ts";
import { type Column, formatTable, shortNumber } from "../table.ts";
import { type SweepPoint, sweepPoints } from "./sweep.ts";

/** What `hsap simulate --json` prints for each strategy and pass. Every time and rate is simulated. */
export interface SimulatedReport {
  /** `replayed`: the computation was measured on this machine, the links are modelled. */
  readonly origin: "simulated" | "replayed";
  readonly mix?: string;
  readonly strategy: string;
  readonly degrees: Readonly<Record<string, number>>;
  readonly pass: Pass;
  readonly ranks: number;
  readonly kernel: string;
  readonly stepMs: number;
  readonly tflopsPerDevice: number;
  /** Highest of any rank. */
  readonly exposedCommunicationMs: number;
  /** Highest rank / mean over ranks, of the time that ranks compute. */
  readonly balance: { readonly time: number };
  readonly bytesByLevel: readonly { readonly level: string; readonly bytes: number }[];
  /** No run of the schedule can be shorter than the first two, no strategy faster than the last. */
  readonly floorsMs: { readonly computation: number; readonly bandwidth: number; readonly problem: number };
  readonly perRank: readonly {
    readonly computingMs: number;
    readonly exposedCommunicationMs: number;
    readonly waitingMs: number;
    readonly exposedByLevelMs: readonly number[];
  }[];
}

/** `hsap simulate`: predicts the time of one problem on a cluster, for one strategy or all, without running anything. */
export async function simulate(options: SimulateOptions, { output }: CommandContext): Promise<void> {
  if (options.calibration) {
    if (options.strategy === undefined) calibrate(options, output);
    else await besideRows(options, options.strategy, output);
    return;
  }
  const chosen = options.strategy === undefined ? strategies : [strategyNamed(options.strategy)];
  const passes = passesOf(options, ["forward"]);
  const points = sweepPoints(options);
  if (options.trace !== undefined && (chosen.length > 1 || passes.length > 1 || points.length > 1)) {
    throw new InputError("conflicting options: --trace without --strategy and one pass (a trace is of one schedule)");
  }
  const refused: string[] = [];
  const reports: SimulatedReport[] = [];
  for (const point of points) {
    for (const pass of passes) {
      for (const strategy of chosen) {
        try {
          for (const schedule of compiledAt(point, strategy, pass)) reports.push(await report(schedule, point.options));
        } catch (error) {
          if (!(error instanceof InputError) || (chosen.length === 1 && points.length === 1)) throw error;
          refused.push(`${strategy.name}, ${pass}: ${error.message}`);
        }
      }
    }
  }
  if (options.json) {
    output.out(`${JSON.stringify({ origin: options.replay ? "replayed" : "simulated", reports, refused }, null, 2)}\n`);
    return;
  }
  const { cluster } = problemOf(points[0].options, batchOf(points[0].options), passes[0]);
  const what = options.replay
    ? "replayed: computation measured here, links modelled"
    : `simulated${options.hardware === undefined ? caveat(cluster) : ""}`;
  output.out(`# ${what}; cluster ${cluster.name}\n`);
  output.out(formatTable(options.sweep?.length ? [...sweepColumns, ...columns] : columns, reports));
  for (const line of refused) output.out(`# refused: ${line}\n`);
}

/** How many packs stand for those of a published row, on up to 8 ranks and on more. */
const packsOfRow = { small: 5, large: 3 } as const;

/** Against published measurements; a few packs stand for those of the evaluation, so that it takes minutes, not hours. */
function calibrate(
  { crossValidate = false, rows, seed, json }: SimulateOptions,
  output: CommandContext["output"],
): void {
  const report = calibrationReport({
    packs: packsOfRow,
    seed: seed === undefined ? 1 : wholeNumber("seed", seed, 0),
    crossValidate,
    ...(rows !== undefined && { published: publishedRows(rows) }),
    onRow: (done, of) => {
      if (output.terminal) output.err(`\rcompiling row ${done + 1} of ${of}`);
    },
  });
  if (output.terminal) output.err("\n");
  output.out(
    json ? `${JSON.stringify({ origin: "simulated", ...report }, null, 2)}\n` : formatCalibrationReport(report),
  );
}

/** A strategy beside the best published system of each setting, with each kernel or the one given. */
async function besideRows(
  { rows, seed, kernel, json }: SimulateOptions,
  strategy: string,
  output: CommandContext["output"],
): Promise<void> {
  const beside = await besidePublished({
    strategy: strategyNamed(strategy),
    packs: packsOfRow,
    seed: seed === undefined ? 1 : wholeNumber("seed", seed, 0),
    ...(kernel !== undefined && { kernels: [kernel] }),
    ...(rows !== undefined && { published: publishedRows(rows) }),
  });
  output.out(
    json
      ? `${JSON.stringify({ origin: "simulated", strategy, settings: beside }, null, 2)}\n`
      : `# ${strategy} simulated, in TFLOP/s a device (to the best published system), with each kernel\n\n${besidePublishedTable(beside)}\n`,
  );
}

/** The strategy's schedules at one point: of its own choice of degrees, of the given ones, or of all that it can run. */
function compiledAt({ options, everyDegree }: SweepPoint, strategy: Strategy, pass: Pass): Schedule[] {
  const named = batchOf(options);
  const problem = problemOf(defaulted(options), named, pass);
  const given =
    options.degrees === undefined
      ? strategy.defaultDegrees(problem)
      : settledDegrees(strategy, problem, parseDegrees(options.degrees));
  const known = checkedOptions(strategy, parseStrategyOptions(options.option ?? []));
  const tried = everyDegree ? strategy.candidateDegrees(problem) : [given];
  return tried.map((degrees) => strategy.compile(problem, degrees, known));
}

async function report(schedule: Schedule, options: SimulateOptions): Promise<SimulatedReport> {
  const measuredUs = options.replay ? await measuredOps(schedule, options) : undefined;
  const simulation = runSimulation(schedule, {
    hardware: options.hardware === undefined ? undefined : readHardware(options.hardware),
    kernel: options.kernel,
    library: options.library,
    measuredUs,
  });
  const origin = measuredUs === undefined ? "simulated" : "replayed";
  if (options.trace !== undefined) writeTrace(options.trace, schedule, { ...simulation.trace, origin });
  return {
    ...simulatedReport(schedule, simulation),
    mix: batchOf(options).name,
    origin,
  };
}

/** Processor time that each computation op takes in a run on this machine. */
async function measuredOps(schedule: Schedule, options: SimulateOptions): Promise<Float64Array> {
  const seed = seedOf(options);
  const { problem } = schedule;
  const saved = problem.pass === "backward" ? { saved: savedFrom(await expectedOf(problem, seed, 2)) } : {};
  // The first run warms up.
  await run(schedule, { seed, ...saved });
  return (await run(schedule, { seed, ...saved })).trace.busyUs;
}

function simulatedReport(schedule: Schedule, simulation: Simulation): SimulatedReport {
  const { problem, strategy, degrees } = schedule;
  const { trace, perRank, floors, kernel } = simulation;
  const computing = perRank.map(({ computingUs }) => computingUs);
  const mean = computing.reduce((sum, us) => sum + us, 0) / computing.length;
  return {
    origin: "simulated",
    strategy,
    degrees,
    pass: problem.pass,
    ranks: ranksOf(problem),
    kernel,
    stepMs: trace.durationUs / 1e3,
    tflopsPerDevice: flopsOf(problem) / ranksOf(problem) / (trace.durationUs * 1e6),
    exposedCommunicationMs: Math.max(...perRank.map(({ exposedCommunicationUs }) => exposedCommunicationUs)) / 1e3,
    balance: { time: mean === 0 ? 1 : Math.max(...computing) / mean },
    bytesByLevel: problem.cluster.levels.map(({ name }, level) => ({
      level: name,
      bytes: simulation.carriedBytesByLevel[level],
    })),
    floorsMs: {
      computation: floors.computationUs / 1e3,
      bandwidth: floors.bandwidthUs / 1e3,
      problem: floors.problemUs / 1e3,
    },
    perRank: perRank.map((rank) => ({
      computingMs: rank.computingUs / 1e3,
      exposedCommunicationMs: rank.exposedCommunicationUs / 1e3,
      waitingMs: rank.waitingUs / 1e3,
      exposedByLevelMs: rank.exposedByLevelUs.map((us) => us / 1e3),
    })),
  };
}

/** The type that the device's peak is stated for, where the user names none. */
function defaulted(options: SimulateOptions): SimulateOptions {
  if (options.dtype !== undefined) return options;
  return { ...options, dtype: problemOf(options, batchOf(options), "forward").cluster.device.dtype };
}

function caveat(cluster: Cluster): string {
  const hardware = hardwareOf(cluster);
  return isOwnHardware(hardware, cluster)
    ? ""
    : ` (no kernel was measured on ${cluster.device.name}: it is taken to reach the same shares of its peaks as ${hardware.devices.join(", ")})`;
}

function writeTrace(file: string, schedule: Schedule, trace: Trace): void {
  try {
    writeFileSync(file, JSON.stringify(chromeTrace(schedule, trace)));
  } catch (error) {
    throw new InputError(`unwritable file: ${file} (${(error as Error).message})`);
  }
}

const sweepColumns: readonly Column<SimulatedReport>[] = [
  { title: "ranks", value: ({ ranks }) => `${ranks}` },
  { title: "mix", align: "left", value: ({ mix = "" }) => mix },
];

const columns: readonly Column<SimulatedReport>[] = [
  { title: "strategy", align: "left", value: ({ strategy }) => strategy },
  { title: "degrees", align: "left", value: ({ degrees }) => formatDegrees(degrees) },
  { title: "pass", align: "left", value: ({ pass }) => pass },
  { title: "step", unit: "ms", value: ({ stepMs }) => shortNumber(stepMs) },
  { title: "rate", unit: "TFLOP/s/dev", value: ({ tflopsPerDevice }) => shortNumber(tflopsPerDevice) },
  { title: "exposed", unit: "ms", value: ({ exposedCommunicationMs }) => shortNumber(exposedCommunicationMs) },
  { title: "balance", unit: "max/mean", value: ({ balance }) => balance.time.toFixed(3) },
  {
    title: "between nodes",
    unit: "MB",
    value: ({ bytesByLevel }) => shortNumber(bytesByLevel.slice(1).reduce((sum, { bytes }) => sum + bytes, 0) / 1e6),
  },
  { title: "floor", unit: "compute ms", value: ({ floorsMs }) => shortNumber(floorsMs.computation) },
  { title: "floor", unit: "links ms", value: ({ floorsMs }) => shortNumber(floorsMs.bandwidth) },
  { title: "floor", unit: "problem ms", value: ({ floorsMs }) => shortNumber(floorsMs.problem) },
];
