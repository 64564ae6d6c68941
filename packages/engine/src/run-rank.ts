import { type LoweredSchedule, lower, type Schedule, type Trace, tensorNames } from "@hsap/schedule";
import { tokensOf } from "@hsap/workload";
import { addon, type NativeRunResult } from "./addon.ts";
import { EngineError } from "./engine-error.ts";
import type { MpiWorld } from "./mpi-world.ts";
import { finished } from "./native-job.ts";
import { nativeProblemOf } from "./native-problem.ts";
import { digestText, nativeOptionsOf, type OutputTensor, outputsOf, type RunOptions, type RunResult } from "./run.ts";

export interface RunRankOptions extends RunOptions {
  /** Outputs with this digest are known, and stay with their ranks. The same on every rank. */
  readonly knownDigest?: string;
}

/**
 * Runs this process's rank of a schedule; every rank of the job calls it with the same schedule and options. Rank 0 gets what `run`
 * would return: the trace of all ranks and their outputs, gathered when the step is over (empty arrays where `knownDigest` says
 * that they are not wanted); the others get nothing.
 *
 * @throws as `run`. A rank that fails leaves the others waiting: it must then end the job (`MpiWorld.fail`).
 */
export async function runRank(
  world: MpiWorld,
  schedule: Schedule,
  options: RunRankOptions = {},
): Promise<RunResult | undefined> {
  const problem = nativeProblemOf(schedule.problem);
  const nativeOptions = nativeOptionsOf(schedule.problem, options);
  const lowered = options.lowered ?? lower(schedule);
  const ranks = lowered.rank.arenaBytes.length;
  if (ranks !== world.ranks) {
    throw new EngineError("invalid-run", `invalid ranks: ${ranks} in the schedule (the job has ${world.ranks})`);
  }
  const native = await finished(
    () => addon().run(lowered, problem, { ...nativeOptions, overMpi: true }),
    options.signal,
  );
  const traces = await world.gather(bytesOf(traceOf(native, lowered, world.rank)));
  const known = world.rank === 0 && joinedDigest(traces) === options.knownDigest;
  const [kept] = await world.broadcast(Uint8Array.of(Number(known)));
  const rows = kept === 1 ? [] : await world.gather(bytesOf(ownRows(schedule, lowered, world.rank, native)));
  if (world.rank !== 0) return undefined;
  const outputs = outputsOf(kept === 1 ? {} : native);
  for (const [rank, bytes] of rows.entries())
    if (rank > 0) placeRows(schedule, lowered, rank, floatsOf(bytes), outputs);
  return {
    trace: joinedTrace(traces, lowered),
    outputs,
    digest: joinedDigest(traces),
    arenaBytes: lowered.rank.arenaBytes,
    residentBytes: Float64Array.from(traces, (bytes) => numbersOf(bytes)[3]),
    threads: native.threads,
    isa: nativeOptions.isa,
  };
}

/** Duration, digest (two words), resident bytes; then begin, end and busy times of the rank's own ops. */
const header = 4;

function traceOf(result: NativeRunResult, { rank: { opBegin } }: LoweredSchedule, rank: number): Float64Array {
  const own = (column: Float64Array): Float64Array => column.subarray(opBegin[rank], opBegin[rank + 1]);
  const columns = [result.beginUs, result.endUs, result.busyUs].map(own);
  const packed = new Float64Array(header + 3 * columns[0].length);
  packed[0] = result.durationUs;
  const digest = new BigUint64Array(packed.buffer, 8, 2);
  digest[0] = result.digestLow;
  digest[1] = result.digestHigh;
  packed[3] = result.residentBytes[rank];
  for (const [i, column] of columns.entries()) packed.set(column, header + i * column.length);
  return packed;
}

/** The ranks' traces as one; each rank's clock starts when all of them are ready. */
function joinedTrace(traces: readonly Uint8Array[], { rank: { opBegin }, op }: LoweredSchedule): Trace {
  const columns = [0, 1, 2].map(() => new Float64Array(op.kind.length));
  let durationUs = 0;
  for (const [rank, bytes] of traces.entries()) {
    const packed = numbersOf(bytes);
    const rows = opBegin[rank + 1] - opBegin[rank];
    durationUs = Math.max(durationUs, packed[0]);
    for (const [i, column] of columns.entries()) {
      column.set(packed.subarray(header + i * rows, header + (i + 1) * rows), opBegin[rank]);
    }
  }
  const [beginUs, endUs, busyUs] = columns;
  return { origin: "measured", beginUs, endUs, busyUs, durationUs };
}

function joinedDigest(traces: readonly Uint8Array[]): string {
  let [low, high] = [0n, 0n];
  for (const { buffer, byteOffset } of traces) {
    const digest = new BigUint64Array(buffer, byteOffset + 8, 2);
    low += digest[0];
    high += digest[1];
  }
  return digestText(low, high);
}

/** Calls `visit` with the place of each run of output rows that the rank owns: `length` elements of the tensor from `begin` on. */
function eachOwnedRun(
  { problem }: Schedule,
  { rank, tensor, region, owned }: LoweredSchedule,
  owner: number,
  visit: (name: OutputTensor, begin: number, length: number) => void,
): void {
  const tokens = tokensOf(problem.batch);
  for (const [i, row] of owned.region.entries()) {
    if (row < rank.regionBegin[owner] || row >= rank.regionBegin[owner + 1]) continue;
    const spec = region.tensor[row];
    if (tensor.role[spec] !== 1) continue;
    const name = tensorNames[tensor.code[spec]] as OutputTensor;
    const width = tensor.width[spec];
    for (let head = region.headBegin[row]; head < region.headEnd[row]; head++) {
      const [begin, end] = [owned.tokenBegin[i], owned.tokenEnd[i]];
      visit(name, (head * tokens + begin) * width, (end - begin) * width);
    }
  }
}

function ownRows(schedule: Schedule, lowered: LoweredSchedule, rank: number, result: NativeRunResult): Float32Array {
  let length = 0;
  eachOwnedRun(schedule, lowered, rank, (_, __, count) => {
    length += count;
  });
  const rows = new Float32Array(length);
  let at = 0;
  eachOwnedRun(schedule, lowered, rank, (name, begin, count) => {
    rows.set((result[name] as Float32Array).subarray(begin, begin + count), at);
    at += count;
  });
  return rows;
}

function placeRows(
  schedule: Schedule,
  lowered: LoweredSchedule,
  rank: number,
  rows: Float32Array,
  outputs: RunResult["outputs"],
): void {
  let at = 0;
  eachOwnedRun(schedule, lowered, rank, (name, begin, count) => {
    outputs[name].set(rows.subarray(at, at + count), begin);
    at += count;
  });
}

function bytesOf({ buffer, byteOffset, byteLength }: Float32Array | Float64Array): Uint8Array {
  return new Uint8Array(buffer, byteOffset, byteLength);
}

function numbersOf({ buffer, byteOffset, byteLength }: Uint8Array): Float64Array {
  return new Float64Array(buffer, byteOffset, byteLength / 8);
}

function floatsOf({ buffer, byteOffset, byteLength }: Uint8Array): Float32Array {
  return new Float32Array(buffer, byteOffset, byteLength / 4);
}
