import { compileUnderCap, hsap } from "@hsap/compiler";
import {
  type Account,
  accountOf,
  checkProblem,
  type Degrees,
  type Finding,
  type LoweredSchedule,
  lower,
  type Problem,
  type Schedule,
  type Strategy,
  type StrategyOptions,
  verify,
} from "@hsap/schedule";
import type { CompileRequest } from "./launch/compile-request.ts";
import { checkedOptions, settledDegrees } from "./strategies.ts";

/** A schedule with all that is known of it before it runs. */
export interface Compiled {
  /** What it was compiled from; undefined for a schedule from a file. */
  readonly request?: CompileRequest;
  readonly schedule: Schedule;
  readonly lowered: LoweredSchedule;
  readonly account: Account;
  /** Rules that the schedule breaks; none if it is right. */
  readonly findings: readonly Finding[];
  readonly compileMs: number;
  readonly verifyMs: number;
}

export interface CompileOptions {
  /** The strategy's default for the problem where left out. */
  readonly degrees?: Degrees | undefined;
  readonly options?: StrategyOptions | undefined;
  /** Highest peak that a rank may reach, in bytes; the verifier reports what exceeds it. */
  readonly memoryCapBytes?: number | undefined;
}

/**
 * Compiles, verifies, counts and lowers. `compileMs` is the strategy's own time: the choice of degrees, if none are given, and the
 * schedule.
 *
 * @throws InputError if the problem, the degrees or an option is not valid for the strategy.
 */
export function compileWith(strategy: Strategy, problem: Problem, given: CompileOptions = {}): Compiled {
  checkProblem(problem);
  const options = checkedOptions(strategy, given.options ?? {});
  const began = performance.now();
  const { memoryCapBytes } = given;
  if (strategy === hsap && memoryCapBytes !== undefined) {
    const kept = given.degrees === undefined ? undefined : settledDegrees(strategy, problem, given.degrees);
    const schedule = compileUnderCap(problem, kept, options, memoryCapBytes);
    const request = { strategy: strategy.name, problem, degrees: schedule.degrees, options };
    return { request, ...inspect(schedule, performance.now() - began, memoryCapBytes) };
  }
  const degrees = settledDegrees(strategy, problem, given.degrees ?? strategy.defaultDegrees(problem));
  const schedule = strategy.compile(problem, degrees, options);
  const compileMs = performance.now() - began;
  const request = { strategy: strategy.name, problem, degrees, options };
  return { request, ...inspect(schedule, compileMs, given.memoryCapBytes) };
}

/** Verifies, counts and lowers a schedule that took `compileMs` to make. */
export function inspect(schedule: Schedule, compileMs: number, memoryCapBytes?: number): Compiled {
  const began = performance.now();
  const findings = verify(schedule, memoryCapBytes === undefined ? {} : { memoryCapBytes });
  const verifyMs = performance.now() - began;
  return { schedule, account: accountOf(schedule), lowered: lower(schedule), findings, compileMs, verifyMs };
}
