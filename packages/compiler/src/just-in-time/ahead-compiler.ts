import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { Worker } from "node:worker_threads";
import type { Degrees, Schedule } from "@hsap/schedule";
import { InputError } from "@hsap/workload";
import { type Programs, scheduleOf } from "../lower/lower.ts";
import { type CompileRequest, ScheduleCache, withOwnBatch } from "./schedule-cache.ts";

export interface AheadCompilerOptions {
  /** Where schedules are looked for and kept; a cache of its own if left out. */
  readonly cache?: ScheduleCache;
}

/** What the thread answers: programs whose columns it has handed over, or why there are none. */
export type Answer =
  | { readonly id: number; readonly degrees: Degrees; readonly programs: Programs }
  | { readonly id: number; readonly message: string; readonly isInputError: boolean };

/** What the thread is asked. */
export interface Question extends CompileRequest {
  readonly id: number;
}

interface Pending {
  readonly request: CompileRequest;
  readonly resolve: (schedule: Schedule) => void;
  readonly reject: (error: Error) => void;
}

/**
 * Compiles in a thread of its own, so that the schedule of a step is ready when the step before it ends. The thread hands
 * over the memory of the columns, which is not copied. Requests are answered in their order. An idle compiler does not
 * keep a process alive.
 */
export class AheadCompiler {
  readonly cache: ScheduleCache;
  readonly #pending = new Map<number, Pending>();
  #worker: Worker | undefined;
  #requests = 0;
  #closed = false;

  /**
   * Starts the thread, which warms up until it is asked (see `warmUp`).
   *
   * @throws Error if the package is not built.
   */
  constructor({ cache = new ScheduleCache() }: AheadCompilerOptions = {}) {
    this.cache = cache;
    this.#start().unref();
  }

  /**
   * The schedule for a request; the one that is kept, if an equal request was answered before. The batch may be changed once the
   * call has returned.
   *
   * @throws InputError as `hsap.compile`, as a rejection.
   * @throws Error if the compiler is closed before or while it compiles, or its thread ends, as a rejection.
   */
  async compile(request: CompileRequest): Promise<Schedule> {
    if (this.#closed) throw new Error("compiler closed: it takes no more requests");
    const known = this.cache.find(request);
    if (known !== undefined) return known;
    const own = { ...request, problem: withOwnBatch(request.problem) };
    const worker = this.#start();
    const id = this.#requests++;
    return new Promise((resolve, reject) => {
      worker.postMessage({ id, ...own } satisfies Question);
      worker.ref();
      this.#pending.set(id, { request: own, resolve, reject });
    });
  }

  /** Ends the thread; what is still being compiled is rejected. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#rejectAll(new Error("compiler closed: the schedule was not finished"));
    await this.#worker?.terminate();
    this.#worker = undefined;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #start(): Worker {
    if (this.#worker !== undefined) return this.#worker;
    // src and dist lie side by side in the package; a thread can start only what is built.
    const program = fileURLToPath(new URL("../../dist/just-in-time/compile-worker.js", import.meta.url));
    if (!existsSync(program)) throw new Error("the package compiler is not built (run npm run setup first)");
    // Nor may it resolve packages to their sources because this process does.
    const worker = new Worker(program, { execArgv: [] });
    const lost = (error: Error) => {
      if (this.#worker === worker) this.#worker = undefined;
      this.#rejectAll(error);
    };
    worker.on("message", (answer: Answer) => this.#settle(answer));
    worker.on("error", lost);
    worker.on("exit", (code) => lost(new Error(`compiler ended: its thread exited with ${code}`)));
    this.#worker = worker;
    return worker;
  }

  #settle(answer: Answer): void {
    const pending = this.#pending.get(answer.id);
    if (pending === undefined) return;
    this.#pending.delete(answer.id);
    if (this.#pending.size === 0) this.#worker?.unref();
    if ("message" in answer) {
      pending.reject(answer.isInputError ? new InputError(answer.message) : new Error(answer.message));
      return;
    }
    const schedule = scheduleOf(pending.request.problem, answer.degrees, answer.programs);
    this.cache.keep(pending.request, schedule);
    pending.resolve(schedule);
  }

  #rejectAll(error: Error): void {
    for (const { reject } of this.#pending.values()) reject(error);
    this.#pending.clear();
  }
}
