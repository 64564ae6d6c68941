/**
 * Jobs that take turns on some cores, as an operating system lets threads do: whoever has run for a slice while others wait goes
 * to the end of the queue. Work does not divide: at the end the last job runs on one core while the others have nothing to do.
 */
export class SharedCores {
  readonly #job: Int32Array;
  readonly #leftUs: Float64Array;
  /** When the job's slice began on each core. */
  readonly #sliceUs: Float64Array;
  /** Until when `#leftUs` is accounted for. */
  readonly #sinceUs: Float64Array;
  #nowUs = 0;
  readonly #waitingJob: number[] = [];
  readonly #waitingUs: number[] = [];

  constructor(
    private readonly cores: number,
    private readonly sliceUs: number,
  ) {
    this.#job = new Int32Array(cores).fill(idle);
    this.#leftUs = new Float64Array(cores);
    this.#sliceUs = new Float64Array(cores);
    this.#sinceUs = new Float64Array(cores);
  }

  /** A job of so much work begins: at once if a core is free, otherwise behind those that wait. */
  start(nowUs: number, workUs: number, job: number): void {
    this.#nowUs = nowUs;
    const core = this.#job.indexOf(idle);
    if (core >= 0) this.#run(core, nowUs, workUs, job);
    else {
      this.#waitingJob.push(job);
      this.#waitingUs.push(workUs);
    }
  }

  /** When the next job ends or is stopped, if none begins before; infinity if none runs. */
  get nextUs(): number {
    let next = Number.POSITIVE_INFINITY;
    for (let core = 0; core < this.cores; core++)
      if (this.#job[core] !== idle) next = Math.min(next, this.#turnUs(core));
    return next;
  }

  /** Lets time pass until `nextUs`. Returns the job that ends then, or `idle` if one is only stopped. */
  advance(): number {
    let core = 0;
    for (let other = 1; other < this.cores; other++) if (this.#turnUs(other) < this.#turnUs(core)) core = other;
    const nowUs = this.#turnUs(core);
    this.#nowUs = nowUs;
    const leftUs = this.#leftUs[core] - (nowUs - this.#sinceUs[core]);
    const job = this.#job[core];
    this.#job[core] = idle;
    const ended = leftUs <= roundingUs;
    if (!ended) {
      this.#waitingJob.push(job);
      this.#waitingUs.push(leftUs);
    }
    const next = this.#waitingJob.shift();
    if (next !== undefined) this.#run(core, nowUs, this.#waitingUs.shift() ?? 0, next);
    return ended ? job : idle;
  }

  #run(core: number, nowUs: number, workUs: number, job: number): void {
    this.#job[core] = job;
    this.#leftUs[core] = workUs;
    this.#sliceUs[core] = this.#sinceUs[core] = nowUs;
  }

  /** When the job of a core ends, or has to make room. */
  #turnUs(core: number): number {
    if (this.#job[core] === idle) return Number.POSITIVE_INFINITY;
    const endUs = this.#sinceUs[core] + this.#leftUs[core];
    if (this.#waitingJob.length === 0) return endUs;
    // Whoever has run for longer than a slice, as nobody waited, makes room at once.
    return Math.min(endUs, Math.max(this.#nowUs, this.#sliceUs[core] + this.sliceUs));
  }
}

/** In place of a job: none. */
export const idle = -1;
const roundingUs = 1e-9;
