import type { RunResult } from "@hsap/engine";
import { areaOf } from "@hsap/schedule";
import { type Expected, errorsOf, type OutputErrors } from "../accuracy.ts";
import type { Compiled } from "../compiled.ts";
import { criticalPathMs, longestChainMs } from "../critical-path.ts";
import { processorTimeOf } from "../processor-time.ts";
import type { RunSchedule } from "../run-schedule.ts";
import { type Trial, type TrialInputs, trialKey, trialSchemaVersion } from "../trial.ts";
import { computeFloor } from "./compute-floor.ts";

/** A schedule that ran once, outside of the measurement, and whose outputs were compared with the reference. */
export interface WarmSchedule {
  readonly compiled: Compiled;
  readonly digest: string;
  readonly errors: OutputErrors;
}

export interface MeasuringContext {
  readonly expected: Expected;
  /** What a backward pass reads of the forward one. */
  readonly saved: { readonly o: Float32Array; readonly lse: Float32Array };
  readonly run: RunSchedule;
  /** Seed of the generated inputs. */
  readonly seed: number;
  readonly environment: string;
  readonly signal?: AbortSignal | undefined;
}

/** Runs a compiled schedule for the first time: warms caches and pages, and checks what comes out. */
export async function warmUp(compiled: Compiled, context: MeasuringContext): Promise<WarmSchedule> {
  const result = await runOnce(compiled, context);
  return { compiled, digest: result.digest, errors: checkedErrors(compiled, result, context) };
}

/** The errors of all outputs; none of the compute floor, which computes as much as the problem but not its outputs. */
function checkedErrors({ schedule }: Compiled, { outputs }: RunResult, { expected }: MeasuringContext): OutputErrors {
  return schedule.strategy === computeFloor.name ? {} : errorsOf(schedule.problem.pass, outputs, expected);
}

/** Runs the schedule once more and says what it took. Outputs with other bits than the checked ones are checked again. */
export async function measureTrial(warm: WarmSchedule, inputs: TrialInputs, context: MeasuringContext): Promise<Trial> {
  const { schedule, lowered, account, findings, compileMs, verifyMs } = warm.compiled;
  const at = new Date().toISOString();
  const result = await runOnce(warm.compiled, context, warm.digest);
  const sameBits = result.digest === warm.digest;
  const { arenaBytes } = lowered.rank;
  const { mean, max, total } = account.receivedBytes;
  return {
    ...inputs,
    schema: trialSchemaVersion,
    key: trialKey(inputs),
    environment: context.environment,
    at,
    origin: "measured",
    wallMs: result.trace.durationUs / 1000,
    cpuMs: processorTimeOf(schedule, result.trace),
    criticalPathMs: criticalPathMs(schedule, result.trace, result.threads.perRank),
    longestChainMs: longestChainMs(schedule, lowered, result.trace, result.threads.perRank),
    area: areaOf(schedule.problem),
    bytes: { received: { mean, max, total }, betweenNodes: account.betweenNodesBytes },
    balance: { area: account.area.balance, tokens: account.tokens.balance },
    peakBytes: {
      mean: arenaBytes.reduce((sum, bytes) => sum + bytes, 0) / arenaBytes.length,
      max: Math.max(...arenaBytes),
    },
    compileMs,
    verifyMs,
    verified: findings.length === 0,
    error: sameBits ? warm.errors : checkedErrors(warm.compiled, result, context),
    sameBits,
    digest: result.digest,
    isa: result.isa,
  };
}

async function runOnce(
  compiled: Compiled,
  { saved, seed, signal, run }: MeasuringContext,
  knownDigest?: string,
): Promise<RunResult> {
  return run(compiled, {
    seed,
    ...(compiled.schedule.problem.pass === "backward" && { saved }),
    ...(knownDigest !== undefined && { knownDigest }),
    ...(signal && { signal }),
  });
}
