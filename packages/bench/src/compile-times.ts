import { clusterOf, presetCluster } from "@hsap/cluster";
import { compileRank, hsap, planOf, ScheduleCache } from "@hsap/compiler";
import type { Degrees, Pass, Problem, Strategy } from "@hsap/schedule";
import { documentsOf, mixNames, mixPack, packNames, percentile, tokensOf } from "@hsap/workload";
import { packProblem, packSetting } from "./comparison/pack-comparison.ts";
import { inFreshProcess } from "./fresh-process.ts";
import { settledDegrees, strategyNamed } from "./strategies.ts";

/** Milliseconds on the clock, nearest rank. */
export interface Percentiles {
  readonly p50: number;
  readonly p95: number;
}

/**
 * What is timed. `first`: the first call in a process, whose code is not optimised yet, one sample for each process. The
 * others are later calls, after `warmUpMs`. `cold`: degrees chosen and all programs compiled, nothing reused. Of hsap also its
 * parts, `degrees` (their choice) and `plan` (what all ranks have to agree on); `rank`: degrees, plan and the program of one rank,
 * which is what a rank does that compiles just in time; and `cached`: an equal problem asked of a cache that has it.
 */
export const compileTimings = ["first", "cold", "degrees", "plan", "rank", "cached"] as const;
export type CompileTiming = (typeof compileTimings)[number];

/** How long one strategy takes to compile one pass of a pack. */
export interface CompileTimes {
  readonly pack: string;
  readonly pass: Pass;
  readonly ranks: number;
  readonly documents: number;
  readonly tokens: number;
  readonly degrees: Degrees;
  /** Ops of all programs. */
  readonly ops: number;
  /** What the schedule's columns take. */
  readonly bytes: number;
  /** Strategies other than hsap have `first` and `cold` only. */
  readonly compileMs: Readonly<Partial<Record<CompileTiming, Percentiles>>>;
}

export interface CompileTimesOptions {
  readonly strategy: string;
  /** Packs that come with the project, or drawn ones (see `compileProblem`). */
  readonly packs: readonly string[];
  /** How many processes are started for each pack, one at a time, the packs in turn. */
  readonly processes: number;
  readonly signal?: AbortSignal | undefined;
  /** `done` is the share of the work, 0 to 1. */
  readonly onProgress?: ((done: number, label: string) => void) | undefined;
}

/**
 * How long a process compiles before its calls are timed, and how often at least unless that takes longer than `timedMs`: the code of
 * calls that take long is not optimised after half a second. How many calls are timed then for each pass, if they take no
 * longer than `timedMs`.
 */
export const warmUpMs = 500;
export const warmUpCalls = 10;
export const timedCalls = 20;
export const timedMs = 4000;

/** However long they take, so many calls are timed. */
const leastCalls = 3;

/** Packs as large as clusters get: the mixes of the packs that come with the project, drawn for more ranks. */
export const largePacks: readonly string[] = [128, 256, 512, 1024].flatMap((ranks) =>
  mixNames.filter((mix) => packNames().includes(`${mix}-64`)).map((mix) => `${mix}-${ranks}`),
);

/**
 * The problem of a pack that comes with the project, or of one that is drawn for any number of ranks: `hybrid-1024` has 8192 tokens
 * a rank of the mix `hybrid`.
 *
 * @throws InputError if there is neither a pack nor a mix of that name.
 */
export function compileProblem(name: string, pass: Pass): Problem {
  const [, mix, digits] = /^(.+)-([1-9]\d{0,4})$/.exec(name) ?? [];
  if (packNames().includes(name) || !mixNames.some((known) => known === mix)) return { ...packProblem(name), pass };
  const { shape, ranksPerNode, cluster } = packSetting;
  const ranks = Number(digits);
  return {
    ...{ batch: mixPack(mix, { tokens: 8192 * ranks, seed: 1 }), shape, mask: "causal", pass },
    cluster: clusterOf({ ranks, ranksPerNode, from: presetCluster(cluster) }),
  };
}

/**
 * Times compilation, forward and backward, in processes of their own, since only the first call of a process is first.
 *
 * @throws InputError if there is no such strategy or pack.
 * @throws Error if the package is not built: a process can start only what is.
 */
export async function measureCompileTimes(options: CompileTimesOptions): Promise<CompileTimes[]> {
  const { strategy, packs, processes, signal, onProgress } = options;
  strategyNamed(strategy);
  const measured = packs.map((pack) => ({ problem: compileProblem(pack, "forward"), samples: [] as CompileSamples[] }));
  for (let round = 0; round < processes; ++round) {
    for (const [i, pack] of packs.entries()) {
      onProgress?.((round * packs.length + i) / (processes * packs.length), pack);
      measured[i].samples.push(...(await inFreshProcess<CompileSamples[]>("compile-times", [strategy, pack], signal)));
    }
  }
  onProgress?.(1, "done");
  return measured.flatMap(({ problem: { batch, cluster }, samples }, i) =>
    (["forward", "backward"] as const).map((pass) => {
      const ofPass = samples.filter((sample) => sample.pass === pass);
      const { degrees, ops, bytes } = ofPass[0];
      const timings = compileTimings.flatMap((timing) => {
        const values = ofPass.flatMap(({ milliseconds }) => milliseconds[timing]);
        return values.length > 0 ? [[timing, percentilesOf(values)] as const] : [];
      });
      return {
        ...{ pack: packs[i], pass, ranks: cluster.ranks, documents: documentsOf(batch), tokens: tokensOf(batch) },
        ...{ degrees, ops, bytes, compileMs: Object.fromEntries(timings) },
      };
    }),
  );
}

/** What one process measured of one pass. */
export interface CompileSamples {
  readonly pass: Pass;
  readonly degrees: Degrees;
  readonly ops: number;
  readonly bytes: number;
  readonly milliseconds: Readonly<Record<CompileTiming, readonly number[]>>;
}

/** Times compilations of a pack in this process, whose first one must be the first of all; passes take turns. */
export function timeCompilations(strategyName: string, pack: string): CompileSamples[] {
  const strategy = strategyNamed(strategyName);
  const passes = (["forward", "backward"] as const).map((pass) => new TimedPass(strategy, compileProblem(pack, pass)));
  for (const pass of passes) pass.time("first", () => pass.compile());
  const isOver = (began: number, milliseconds: number) => performance.now() - began >= milliseconds;
  const warm = performance.now();
  for (let call = 0; !isOver(warm, warmUpMs) || (call < warmUpCalls && !isOver(warm, timedMs)); call++) {
    timeInTurn(passes, () => () => {});
  }
  const began = performance.now();
  for (let call = 0; call < timedCalls && (call < leastCalls || !isOver(began, timedMs)); call++) {
    timeInTurn(passes, ({ keep }) => keep);
  }
  return passes.map((pass) => pass.samples());
}

/** The compiler remembers the choice that it made last: with another pass between two timings, none of them finds it. */
function timeInTurn(passes: readonly TimedPass[], keepOf: (pass: TimedPass) => Keep): void {
  const timings = passes.map((pass) => pass.timings(keepOf(pass)));
  while (timings.map((timing) => timing.next().done).includes(false));
}

type Keep = (timing: CompileTiming, milliseconds: number) => void;

class TimedPass {
  readonly #milliseconds: Record<CompileTiming, number[]> = {
    ...{ first: [], cold: [], degrees: [], plan: [], rank: [], cached: [] },
  };
  readonly #cache = new ScheduleCache();
  #calls = 0;

  constructor(
    readonly strategy: Strategy,
    readonly problem: Problem,
  ) {}

  compile() {
    const { strategy, problem } = this;
    return strategy.compile(problem, settledDegrees(strategy, problem, strategy.defaultDegrees(problem)));
  }

  readonly keep: Keep = (timing, milliseconds) => {
    this.#milliseconds[timing].push(milliseconds);
  };

  time(timing: CompileTiming, work: () => unknown, keep: Keep = this.keep): void {
    const began = performance.now();
    work();
    keep(timing, performance.now() - began);
  }

  /** Times everything once but the first call; whoever takes the results goes on when another problem was compiled. */
  *timings(keep: Keep): Generator<void> {
    const { problem } = this;
    this.time("cold", () => this.compile(), keep);
    yield;
    if (this.strategy !== hsap) return;
    this.time("degrees", () => hsap.defaultDegrees(problem), keep);
    const degrees = hsap.defaultDegrees(problem);
    yield;
    this.time("plan", () => planOf(problem, degrees), keep);
    yield;
    // Any rank may be the one that compiles.
    const rank = (37 * this.#calls++) % problem.cluster.ranks;
    this.time("rank", () => compileRank(problem, hsap.defaultDegrees(problem), rank), keep);
    this.#cache.compile({ problem });
    const again = { ...problem, batch: { cuSeqlens: problem.batch.cuSeqlens.slice() } };
    this.time("cached", () => this.#cache.compile({ problem: again }), keep);
  }

  samples(): CompileSamples {
    const { degrees, ops, blocks } = this.compile();
    const columns = [...Object.values(ops), ...Object.values(blocks)];
    const bytes = columns.reduce((sum, { byteLength }) => sum + byteLength, 0);
    return { pass: this.problem.pass, degrees, ops: ops.kind.length, bytes, milliseconds: this.#milliseconds };
  }
}

function percentilesOf(values: readonly number[]): Percentiles {
  const sorted = Float64Array.from(values).sort();
  return { p50: percentile(sorted, 50), p95: percentile(sorted, 95) };
}
