import { run } from "@hsap/engine";
import { accountOf, isCommunication, opKinds, type Problem, type Schedule, type Strategy } from "@hsap/schedule";
import { compileWith } from "../compiled.ts";
import { median } from "../statistics.ts";

export interface OverlapOptions {
  readonly strategies: readonly Strategy[];
  /** Rate of every link, in bytes per second; chosen so that communication takes as long as computation where left out. */
  readonly linkBytesPerSecond?: number | undefined;
  readonly repeats: number;
  readonly seed: number;
  readonly threadsPerRank?: number | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: (share: number, label: string) => void;
}

/** How much of its communication a forward pass hides. Times are measured, on the clock; medians of interleaved rounds. */
export interface Overlap {
  readonly strategy: string;
  readonly linkBytesPerSecond: number;
  /** The run over links without a limit. */
  readonly computationMs: number;
  /** The schedule's sends and receives alone, over the slow links. */
  readonly communicationMs: number;
  /** The run over the slow links. */
  readonly wallMs: number;
  /** Wall time over the longer of the two, and over their sum: medians of the rounds' ratios. 1 is what full overlap gives, or none. */
  readonly overLonger: number;
  readonly overSum: number;
  /** Share of the shorter of the two that was hidden behind the longer: 1 is all of it, 0 none. */
  readonly hidden: number;
}

/**
 * Runs each strategy's forward pass with links that are as slow as its computation, and compares the wall time with that of the
 * computation alone and of the communication alone. Blocks are handed over by pointer once their link is done with them, so that
 * links take no processor time.
 *
 * @throws InputError if a strategy does not support the problem.
 * @throws EngineError if a run fails.
 * @throws the signal's reason if it is aborted.
 */
export async function measureOverlap(problem: Problem, options: OverlapOptions): Promise<Overlap[]> {
  const { strategies, repeats, seed, threadsPerRank = 1, signal, onProgress } = options;
  const rows: Overlap[] = [];
  const common = { seed, threadsPerRank, ...(signal && { signal }) };
  for (const [i, strategy] of strategies.entries()) {
    const { schedule, lowered } = compileWith(strategy, { ...problem, pass: "forward" });
    const transfers = transfersOf(schedule);
    const computationMs = async () => (await run(schedule, { ...common, lowered })).trace.durationUs / 1e3;
    // The first run warms up, and says how slow links must be.
    const linkBytesPerSecond =
      options.linkBytesPerSecond ?? (await matchedRate(schedule, await computationMs(), common));
    const slow = { ...common, linkBytesPerSecond };
    const samples = { computation: [] as number[], communication: [] as number[], wall: [] as number[] };
    for (let round = 0; round < repeats; round++) {
      samples.computation.push(await computationMs());
      samples.communication.push((await run(transfers, slow)).trace.durationUs / 1e3);
      samples.wall.push((await run(schedule, { ...slow, lowered })).trace.durationUs / 1e3);
      onProgress?.((i + (round + 1) / repeats) / strategies.length, strategy.name);
    }
    const ratio = (of: (computation: number, communication: number, wall: number) => number) =>
      median(samples.wall.map((wall, k) => of(samples.computation[k], samples.communication[k], wall)));
    rows.push({
      strategy: strategy.name,
      linkBytesPerSecond,
      computationMs: median(samples.computation),
      communicationMs: median(samples.communication),
      wallMs: median(samples.wall),
      overLonger: ratio((a, b, wall) => wall / Math.max(a, b)),
      overSum: ratio((a, b, wall) => wall / (a + b)),
      hidden: ratio((a, b, wall) => (a + b - wall) / Math.min(a, b)),
    });
  }
  return rows;
}

/**
 * A schedule's sends and receives without its computation. What would have been computed is sent as it lies: the bytes and the order
 * are the same, the outputs mean nothing.
 */
export function transfersOf(schedule: Schedule): Schedule {
  const { ops, opBegin } = schedule;
  const communicates = opKinds.map(isCommunication);
  const rows: number[] = [];
  const begins = new Int32Array(opBegin.length);
  for (let rank = 0; rank + 1 < opBegin.length; rank++) {
    for (let row = opBegin[rank]; row < opBegin[rank + 1]; row++) if (communicates[ops.kind[row]]) rows.push(row);
    begins[rank + 1] = rows.length;
  }
  const operandBegin = new Int32Array(rows.length + 1);
  const operands: number[] = [];
  for (const [i, row] of rows.entries()) {
    for (let at = ops.operandBegin[row]; at < ops.operandBegin[row + 1]; at++) operands.push(ops.operands[at]);
    operandBegin[i + 1] = operands.length;
  }
  return {
    ...schedule,
    opBegin: begins,
    ops: {
      ...ops,
      kind: Uint8Array.from(rows, (row) => ops.kind[row]),
      attribute: Uint8Array.from(rows, (row) => ops.attribute[row]),
      peer: Int32Array.from(rows, (row) => ops.peer[row]),
      group: Int32Array.from(rows, (row) => ops.group[row]),
      operandBegin,
      operands: Int32Array.from(operands),
    },
  };
}

/** The rate at which the schedule's transfers alone take as long as its computation. */
async function matchedRate(
  schedule: Schedule,
  computationMs: number,
  common: { readonly seed: number },
): Promise<number> {
  const bytes = accountOf(schedule).receivedBytes.max;
  if (bytes === 0) return Number.MAX_SAFE_INTEGER;
  // A first guess as if every rank received all of its bytes over one link; a measured run corrects it.
  const guess = (bytes / computationMs) * 1e3;
  const measured = await run(transfersOf(schedule), { ...common, linkBytesPerSecond: guess });
  return (guess * (measured.trace.durationUs / 1e3)) / computationMs;
}
