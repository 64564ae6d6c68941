import { readFileSync, writeFileSync } from "node:fs";
import { type Compiled, compileWith, inspect } from "@hsap/bench";
import { decodeSchedule, encodeSchedule, formatSchedule } from "@hsap/schedule";
import { InputError } from "@hsap/workload";
import { compiledReport, formatCompiledReport } from "../compiled-report.ts";
import { exitCodes } from "../exit-codes.ts";
import { explanationOf, formatExplanation, type ScheduleExplanation } from "../explanation.ts";
import { batchOf, passesOf, problemOf } from "../given-problem.ts";
import { givenStrategy } from "../given-strategy.ts";
import { parseBytes, parseDegrees } from "../option-values.ts";
import type { CommandContext, CompileOptions } from "../program.ts";

/** `hsap compile`: one problem, one strategy, one schedule, and what it costs. */
export async function compile(options: CompileOptions, { output, finish }: CommandContext): Promise<void> {
  const compiled = options.schedule === undefined ? compileGiven(options) : readCompiled(options.schedule, options);
  if (options.out !== undefined) writeSchedule(options.out, compiled);
  const report = { ...compiledReport(compiled), ...(options.explain && { explanation: explained(compiled, options) }) };
  if (options.text) output.out(formatSchedule(compiled.schedule));
  else if (options.json) output.out(`${JSON.stringify(report, null, 2)}\n`);
  else output.out(formatCompiledReport(report) + formatExplanation(compiled.schedule.problem, report.explanation));
  if (report.verified) return;
  output.err(`hsap: the schedule breaks a rule: ${report.findings[0]}\n`);
  finish(exitCodes.failed);
}

/** @throws InputError if the schedule is not one that hsap chooses for itself. */
function explained({ schedule }: Compiled, { degrees }: CompileOptions): ScheduleExplanation {
  if (schedule.strategy !== "hsap") {
    throw new InputError(`invalid explain: ${schedule.strategy} (only hsap weighs schedules)`);
  }
  return explanationOf(schedule, degrees === undefined ? undefined : parseDegrees(degrees));
}

/**
 * Reads a schedule that `hsap compile --out` wrote, and checks it by every rule.
 *
 * @throws InputError if the file cannot be read or is no such schedule.
 */
export function readCompiled(file: string, { memoryCap }: { readonly memoryCap?: string }): Compiled {
  let bytes: Uint8Array;
  try {
    bytes = readFileSync(file);
  } catch (error) {
    throw new InputError(`unreadable schedule: ${file} (${(error as Error).message})`);
  }
  try {
    return inspect(decodeSchedule(bytes), 0, memoryCapOf(memoryCap));
  } catch (error) {
    if (error instanceof InputError) throw new InputError(`${error.message} in ${file}`);
    throw error;
  }
}

export function memoryCapOf(text: string | undefined): number | undefined {
  return text === undefined ? undefined : parseBytes("memory-cap", text);
}

function compileGiven(options: CompileOptions): Compiled {
  const { strategy, options: ofStrategy } = givenStrategy(options.strategy ?? "hsap", options);
  const passes = passesOf(options, ["forward"]);
  if (passes.length > 1) throw new InputError("invalid pass: both (a schedule is for one pass: forward or backward)");
  return compileWith(strategy, problemOf(options, batchOf(options), passes[0]), {
    degrees: options.degrees === undefined ? undefined : parseDegrees(options.degrees),
    options: ofStrategy,
    memoryCapBytes: memoryCapOf(options.memoryCap),
  });
}

function writeSchedule(file: string, { schedule }: Compiled): void {
  try {
    writeFileSync(file, encodeSchedule(schedule));
  } catch (error) {
    throw new InputError(`unwritable file: ${file} (${(error as Error).message})`);
  }
}
