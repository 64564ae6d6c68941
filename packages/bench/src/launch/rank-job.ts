import { createHash } from "node:crypto";
import { type Isa, joinMpi, type MpiWorld, type RunRankOptions, runRank } from "@hsap/engine";
import { type Dtype, decodeSchedule, encodeSchedule, type LoweredSchedule, lower, type Schedule } from "@hsap/schedule";
import { InputError } from "@hsap/workload";
import type { Compiled } from "../compiled.ts";
import type { RunSchedule, RunScheduleOptions } from "../run-schedule.ts";
import { strategyNamed } from "../strategies.ts";
import { type CompileRequest, requestOfText, textOfRequest } from "./compile-request.ts";
import { computeGroupOf } from "./compute-group.ts";
import { type JobRecord, recordJob } from "./job-record.ts";
import { invalidInputLine } from "./job-report.ts";
import { endWithLauncher, lifelineVariable } from "./launched-job.ts";
import { mpiOptionsOf } from "./mpi-options.ts";
import { rankHostLines } from "./rank-hosts.ts";
import { rankPlaceOf } from "./rank-place.ts";

/** What rank 0 works with. */
export interface LedJob {
  readonly job: JobRecord;
  /** Runs a schedule on all ranks, each of which compiles it for itself. */
  readonly run: RunSchedule;
  readonly world: MpiWorld;
}

/**
 * Makes this process a rank of the MPI job that it was started in. Rank 0 leads: it runs `lead` and returns what that returns. The
 * others do what it tells them, and return undefined when it is done. A rank that fails ends the job with a line that names rank
 * and host.
 *
 * @throws InputError if this process was not started as a rank, or MPI sees another number of ranks than the launcher.
 * @throws at rank 0 what `lead` throws.
 */
export async function asRank<T>(
  lead: (job: LedJob) => Promise<T>,
  signal?: AbortSignal,
  environment: NodeJS.ProcessEnv = process.env,
): Promise<T | undefined> {
  const place = rankPlaceOf(environment);
  if (place === undefined) {
    throw new InputError("invalid launcher: started (this process was started by no mpirun, srun or torchrun)");
  }
  const world = joinMpi(mpiOptionsOf(environment));
  if (world.ranks !== place.ranks) {
    throw new InputError(
      `invalid ranks: ${place.launcher} started ${place.ranks}, but ${world.library} sees ${world.ranks} (start them by the launcher of that MPI; with srun, the --mpi it was built for)`,
    );
  }
  if (world.rank === 0) tieToLauncher(world, environment);
  const leave = (): void => world.leave();
  signal?.addEventListener("abort", leave, { once: true });
  try {
    return await work(world, place.launcher, computeGroupOf(environment, place), lead, signal);
  } finally {
    signal?.removeEventListener("abort", leave);
  }
}

/** The process that launched the job learns where its ranks are, and that process's end is ours. */
function tieToLauncher({ hosts }: MpiWorld, environment: NodeJS.ProcessEnv): void {
  endWithLauncher(environment);
  if (environment[lifelineVariable] !== undefined) process.stderr.write(`${rankHostLines(hosts).join("\n")}\n`);
}

async function work<T>(
  world: MpiWorld,
  launcher: string,
  computeGroup: string | undefined,
  lead: (job: LedJob) => Promise<T>,
  signal: AbortSignal | undefined,
): Promise<T | undefined> {
  const own: OwnOptions = computeGroup === undefined ? {} : { computeGroup };
  try {
    const job = await recordJob(world, launcher);
    if (job === undefined) {
      await follow(world, own);
      await world.finish();
      return undefined;
    }
    const leader = new Leader(world, own, job);
    const result = await lead({ job, run: leader.run, world });
    await leader.end();
    await world.finish();
    return result;
  } catch (error) {
    // After a signal every rank has had it, or the launcher ends those that have not.
    if (signal?.aborted) throw error;
    if (error instanceof InputError && process.env[lifelineVariable] !== undefined) {
      process.stderr.write(`${invalidInputLine}\n`);
    }
    const text = process.env.HSAP_DEBUG ? (error as Error).stack : (error as Error).message.split("\n")[0];
    // Bad input is no rank's fault.
    const who = error instanceof InputError ? "" : `rank ${world.rank} on ${world.hosts[world.rank]}: `;
    return world.fail(`hsap: ${who}${text}`);
  }
}

/** What rank 0 asks of the others, in the order in which they do it. */
type Task =
  | { readonly kind: "compile"; readonly id: number; readonly request: string }
  | { readonly kind: "take"; readonly id: number }
  | { readonly kind: "saved"; readonly id: number }
  | { readonly kind: "run"; readonly id: number; readonly saved: number | null; readonly options: PlainOptions }
  | { readonly kind: "end" };

type PlainOptions = Omit<RunScheduleOptions, "saved" | "signal" | "computeGroup">;

/** What each rank adds for itself. */
type OwnOptions = Pick<RunScheduleOptions, "computeGroup">;

/** So many schedules are kept on every rank; the one that was compiled first is dropped first. */
const keptSchedules = 64;

class Leader {
  readonly #world: MpiWorld;
  readonly #job: JobRecord;
  readonly #own: OwnOptions;
  readonly #schedules = new WeakMap<Schedule, number>();
  readonly #saved = new WeakMap<Float32Array, number>();
  #schedulesKnown = 0;
  #savedKnown = 0;

  constructor(world: MpiWorld, own: OwnOptions, job: JobRecord) {
    this.#world = world;
    this.#job = job;
    this.#own = own;
  }

  readonly run: RunSchedule = async (compiled, { saved, signal, ...given }) => {
    signal?.throwIfAborted();
    const options = { ...given, isa: given.isa ?? commonIsa(this.#job, compiled.schedule.problem.shape.dtype) };
    const id = await this.#scheduleId(compiled);
    const savedId = saved === undefined ? null : await this.#savedId(saved);
    await tell(this.#world, { kind: "run", id, saved: savedId, options });
    const result = await runRank(this.#world, compiled.schedule, {
      ...options,
      ...this.#own,
      lowered: compiled.lowered,
      ...(saved && { saved }),
      ...(signal && { signal }),
    });
    if (result === undefined) throw new Error("rank 0 got no result");
    return result;
  };

  async end(): Promise<void> {
    await tell(this.#world, { kind: "end" });
  }

  /** Has every rank compile the schedule unless it has it, and makes sure that all got the same one. */
  async #scheduleId({ schedule, request }: Compiled): Promise<number> {
    const known = this.#schedules.get(schedule);
    if (known !== undefined && known > this.#schedulesKnown - keptSchedules) return known;
    const id = ++this.#schedulesKnown;
    if (request === undefined) {
      // Nobody else could compile it: it was read from a file, or made by hand.
      await tell(this.#world, { kind: "take", id });
      await this.#world.broadcast(encodeSchedule(schedule));
      this.#schedules.set(schedule, id);
      return id;
    }
    await tell(this.#world, { kind: "compile", id, request: textOfRequest(request) });
    const sums = await this.#world.gather(checksumOf(schedule));
    const others = sums.flatMap((sum, rank) => (Buffer.compare(sum, sums[0]) === 0 ? [] : [rank]));
    if (others.length > 0) throw new Error(disagreement(this.#world, request, others));
    this.#schedules.set(schedule, id);
    return id;
  }

  async #savedId({ o, lse }: NonNullable<RunScheduleOptions["saved"]>): Promise<number> {
    const known = this.#saved.get(o);
    if (known !== undefined && known === this.#savedKnown) return known;
    const id = ++this.#savedKnown;
    await tell(this.#world, { kind: "saved", id });
    for (const { buffer, byteOffset, byteLength } of [o, lse])
      await this.#world.broadcast(new Uint8Array(buffer, byteOffset, byteLength));
    this.#saved.set(o, id);
    return id;
  }
}

/** Does what rank 0 says until it says that all is done. */
async function follow(world: MpiWorld, own: OwnOptions): Promise<void> {
  const schedules = new Map<number, { readonly schedule: Schedule; readonly lowered: LoweredSchedule }>();
  let saved: RunRankOptions["saved"];
  const keep = (id: number, schedule: Schedule): void => {
    schedules.set(id, { schedule, lowered: lower(schedule) });
    schedules.delete(id - keptSchedules);
  };
  const floats = async (): Promise<Float32Array> => {
    const { buffer, byteOffset, byteLength } = await world.broadcast(new Uint8Array(0));
    return new Float32Array(buffer, byteOffset, byteLength / 4);
  };
  for (;;) {
    const task = JSON.parse(Buffer.from(await world.broadcast(new Uint8Array(0))).toString()) as Task;
    switch (task.kind) {
      case "compile": {
        const { strategy, problem, degrees, options } = requestOfText(task.request);
        const schedule = strategyNamed(strategy).compile(problem, degrees, options);
        keep(task.id, schedule);
        await world.gather(checksumOf(schedule));
        break;
      }
      case "take":
        keep(task.id, decodeSchedule(await world.broadcast(new Uint8Array(0))));
        break;
      case "saved":
        saved = { o: await floats(), lse: await floats() };
        break;
      case "run": {
        const known = schedules.get(task.id);
        if (known === undefined) throw new Error(`schedule ${task.id} is not here`);
        const { schedule, lowered } = known;
        const withSaved = task.saved !== null && saved !== undefined ? { saved } : {};
        await runRank(world, schedule, { ...task.options, ...own, ...withSaved, lowered });
        break;
      }
      case "end":
        return;
    }
  }
}

/** `auto` where it means the same on every rank; otherwise the best instruction set that all of them have. */
function commonIsa({ ranks }: JobRecord, dtype: Dtype): "auto" | Isa {
  const [first] = ranks;
  if (ranks.every(({ isas }) => isas.join() === first.isas.join())) return "auto";
  const common = first.isas.filter((isa) => ranks.every(({ isas }) => isas.includes(isa)));
  const fitting = dtype === "bf16" ? common : common.filter((isa) => isa !== "avx512bf16");
  return (fitting.at(-1) ?? "scalar") as Isa;
}

async function tell(world: MpiWorld, task: Task): Promise<void> {
  await world.broadcast(Buffer.from(JSON.stringify(task)));
}

function checksumOf(schedule: Schedule): Uint8Array {
  return createHash("sha256").update(encodeSchedule(schedule)).digest();
}

function disagreement({ hosts }: MpiWorld, { strategy, problem }: CompileRequest, others: readonly number[]): string {
  const named = others.slice(0, 4).map((rank) => `rank ${rank} on ${hosts[rank]}`);
  const more = others.length > named.length ? ` and ${others.length - named.length} more` : "";
  return `${named.join(", ")}${more} compiled another schedule of ${strategy} (${problem.pass}) than rank 0 on ${hosts[0]} (is the same code installed on every node?)`;
}
