import type { RunResult, ThreadOptions } from "@hsap/engine";
import type { Degrees, Dtype, Finding, Problem, Strategy, StrategyOptions } from "@hsap/schedule";
import { documentsOf, tokensOf } from "@hsap/workload";
import { type Expected, errorsOf, expectedOf, type OutputErrors } from "../accuracy.ts";
import { type Compiled, compileWith } from "../compiled.ts";
import { type RunSchedule, runHere } from "../run-schedule.ts";
import { contaminationOf, type ProbeResult } from "./contamination-probe.ts";

/** What one strategy did with one problem, forward and backward. */
export interface CaseResult {
  readonly dtype: Dtype;
  readonly errors: OutputErrors;
  /**
   * Rules that the forward or the backward schedule breaks. A schedule that breaks another rule than `contamination` is not
   * run; one that breaks only that is, to show what it does to the outputs.
   */
  readonly findings: readonly Finding[];
  /** (perturbed document, other document) pairs where any bit of the other's outputs changed. */
  readonly contaminatedPairs: number;
  /** Probes that did not change the perturbed document's own outputs, so that they show nothing. */
  readonly blindProbes: number;
  /** Passes whose second run gave other bits than the first. */
  readonly unstablePasses: number;
  /** Schedules that were run, the same one twice and the probes included. */
  readonly runs: number;
}

export interface CaseOptions {
  readonly degrees: Degrees;
  readonly options?: StrategyOptions | undefined;
  readonly seed: number;
  readonly expected: Expected;
  /** How many documents are perturbed, spread evenly over the pack. */
  readonly probes: number;
  readonly threads?: ThreadOptions | undefined;
  /**
   * Runs the schedules; threads of this process where left out. The second run of each, which must give the same bits, is one on
   * threads of this process in any case.
   */
  readonly run?: RunSchedule | undefined;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Compiles both passes, checks their rules, runs each twice, compares with the reference, and probes for contamination. The
 * backward pass reads what the strategy's own forward pass saved. Where the strategy pads documents, the reference is that of
 * the padded ones.
 *
 * @throws InputError if the strategy refuses the problem.
 */
export async function verifyCase(strategy: Strategy, problem: Problem, given: CaseOptions): Promise<CaseResult> {
  const { degrees, options } = given;
  const { dtype } = problem.shape;
  const forward = compileWith(strategy, { ...problem, pass: "forward" }, { degrees, options });
  const backward = compileWith(strategy, { ...problem, pass: "backward" }, { degrees, options });
  const findings = [...forward.findings, ...backward.findings];
  if (findings.some(({ rule }) => rule !== "contamination")) {
    return { dtype, errors: {}, findings, contaminatedPairs: 0, blindProbes: 0, unstablePasses: 0, runs: 0 };
  }
  const plain = await runBoth(forward, backward, given);
  const again = await runBoth(forward, backward, { ...given, run: runHere });
  const probes: ProbeResult[] = [];
  for (const document of spread(documentsOf(problem.batch), given.probes)) {
    const perturbed = await runBoth(forward, backward, given, document);
    const { problem: ahead } = forward.schedule;
    const { problem: back } = backward.schedule;
    probes.push(contaminationOf(ahead, document, plain.forward.outputs, perturbed.forward.outputs));
    probes.push(contaminationOf(back, document, plain.backward.outputs, perturbed.backward.outputs));
  }
  const { batch } = forward.schedule.problem;
  const padded = tokensOf(batch) > tokensOf(problem.batch);
  const expected = padded ? await expectedOf({ ...problem, batch }, given.seed, 2, given.signal) : given.expected;
  return {
    dtype,
    errors: {
      ...errorsOf("forward", plain.forward.outputs, expected),
      ...errorsOf("backward", plain.backward.outputs, expected),
    },
    findings,
    contaminatedPairs: probes.reduce((sum, { documents }) => sum + documents.length, 0),
    blindProbes: probes.filter(({ effective }) => !effective).length,
    unstablePasses: (["forward", "backward"] as const).filter((pass) => plain[pass].digest !== again[pass].digest)
      .length,
    runs: 4 + probes.length,
  };
}

interface BothRuns {
  readonly forward: RunResult;
  readonly backward: RunResult;
}

async function runBoth(
  forward: Compiled,
  backward: Compiled,
  { seed, threads, run = runHere, signal }: CaseOptions,
  perturbed?: number,
): Promise<BothRuns> {
  const { cuSeqlens } = forward.schedule.problem.batch;
  const options = {
    ...threads,
    seed,
    ...(signal && { signal }),
    ...(perturbed !== undefined && {
      perturb: { tokenBegin: cuSeqlens[perturbed], tokenEnd: cuSeqlens[perturbed + 1], seed: seed + 1 },
    }),
  };
  const ahead = await run(forward, options);
  const { o, lse } = ahead.outputs;
  return {
    forward: ahead,
    backward: await run(backward, { ...options, saved: { o, lse } }),
  };
}

/** Up to `most` numbers below `count`, spread evenly: the middle one, or with several the first and the last among them. */
function spread(count: number, most: number): number[] {
  if (count <= most) return Array.from({ length: count }, (_, i) => i);
  if (most === 1) return [count >> 1];
  return Array.from({ length: most }, (_, i) => Math.round((i * (count - 1)) / (most - 1)));
}
