import type { Degrees, Problem, Schedule, StrategyOptions } from "@hsap/schedule";
import { InputError } from "@hsap/workload";
import { compile } from "../compile.ts";
import { chooseDegrees } from "../degrees.ts";

export interface ScheduleCacheOptions {
  /** The most that the kept schedules may take together, in bytes of their columns; 256 MiB if left out. */
  readonly maxBytes?: number;
}

/** What a schedule is compiled for. Degrees that are left out are chosen for the problem. */
export interface CompileRequest {
  readonly problem: Problem;
  readonly degrees?: Degrees | undefined;
  readonly options?: StrategyOptions | undefined;
}

/**
 * Schedules by the signature of what they were compiled for: the documents' lengths, shape, cluster, mask, pass, degrees and options.
 * Where a batch comes again, as in evaluation or with a fixed shape of packs, its schedule is there. Those used least recently
 * are forgotten when all together would exceed the bound; a schedule that exceeds it alone is not kept.
 */
export class ScheduleCache {
  readonly maxBytes: number;
  /** By signature; the one used least recently comes first. */
  readonly #entries = new Map<string, Entry>();
  #bytes = 0;

  /** @throws InputError if the bound is not a number of at least 0. */
  constructor({ maxBytes = 256 * 2 ** 20 }: ScheduleCacheOptions = {}) {
    if (!(maxBytes >= 0)) throw new InputError(`invalid maxBytes: ${maxBytes} (must be at least 0)`);
    this.maxBytes = maxBytes;
  }

  /** How many schedules are kept. */
  get size(): number {
    return this.#entries.size;
  }

  /** What they take. */
  get bytes(): number {
    return this.#bytes;
  }

  /**
   * The schedule that is kept for an equal request, or a new one. Its problem equals the one given, but has a copy of the
   * batch: a caller may use the memory of `cuSeqlens` again.
   *
   * @throws InputError as `hsap.compile`.
   */
  compile(request: CompileRequest): Schedule {
    const known = this.find(request);
    if (known !== undefined) return known;
    const { degrees, options } = request;
    const problem = withOwnBatch(request.problem);
    const schedule = compile(problem, degrees ?? chooseDegrees(problem), options);
    this.keep(request, schedule);
    return schedule;
  }

  /** The schedule that is kept for an equal request, if one is. */
  find(request: CompileRequest): Schedule | undefined {
    const signature = signatureOf(request);
    const entry = this.#entries.get(signature);
    if (entry === undefined || !areEqual(entry.cuSeqlens, request.problem.batch.cuSeqlens)) return undefined;
    this.#entries.delete(signature);
    this.#entries.set(signature, entry);
    return entry.schedule;
  }

  /** Keeps a schedule that was compiled for this request. */
  keep(request: CompileRequest, schedule: Schedule): void {
    const bytes = bytesOf(schedule);
    if (bytes > this.maxBytes) return;
    const signature = signatureOf(request);
    this.#forget(signature);
    this.#entries.set(signature, { cuSeqlens: request.problem.batch.cuSeqlens.slice(), schedule, bytes });
    this.#bytes += bytes;
    for (const oldest of this.#entries.keys()) {
      if (this.#bytes <= this.maxBytes) break;
      this.#forget(oldest);
    }
  }

  clear(): void {
    this.#entries.clear();
    this.#bytes = 0;
  }

  #forget(signature: string): void {
    this.#bytes -= this.#entries.get(signature)?.bytes ?? 0;
    this.#entries.delete(signature);
  }
}

interface Entry {
  /** A hash alone could stand for another batch. */
  readonly cuSeqlens: Int32Array;
  readonly schedule: Schedule;
  readonly bytes: number;
}

/** The problem with a copy of its batch. */
export function withOwnBatch(problem: Problem): Problem {
  return { ...problem, batch: { ...problem.batch, cuSeqlens: problem.batch.cuSeqlens.slice() } };
}

/** The same for equal requests; others have another one, but for batches of one hash. */
function signatureOf({ problem, degrees, options = {} }: CompileRequest): string {
  const { batch, shape, cluster, mask, pass } = problem;
  const settings = [shape.heads, shape.kvHeads, shape.headDim, shape.dtype, cluster, mask, pass];
  const given = JSON.stringify([settings, degrees === undefined ? "auto" : sorted(degrees), sorted(options)]);
  return `${batch.cuSeqlens.length}:${hashOf(batch.cuSeqlens)}:${given}`;
}

const sorted = (record: StrategyOptions) => Object.entries(record).sort(([a], [b]) => (a < b ? -1 : 1));

/** FNV-1a over 32-bit words. */
function hashOf(words: Int32Array): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < words.length; i++) hash = Math.imul(hash ^ words[i], 0x01000193);
  return hash >>> 0;
}

const bytesIn = ({ buffer, byteOffset, byteLength }: Int32Array) => new Uint8Array(buffer, byteOffset, byteLength);

const areEqual = (a: Int32Array, b: Int32Array): boolean => Buffer.compare(bytesIn(a), bytesIn(b)) === 0;

function bytesOf({ blocks, ops, opBegin, problem }: Schedule): number {
  const columns = [...Object.values(blocks), ...Object.values(ops), opBegin, problem.batch.cuSeqlens];
  return columns.reduce((sum, { byteLength }) => sum + byteLength, 0);
}
