// The thread of an AheadCompiler: compiles one request after the other and hands the columns over.
import { parentPort } from "node:worker_threads";
import { InputError } from "@hsap/workload";
import { compilePrograms } from "../compile.ts";
import { chooseDegrees } from "../degrees.ts";
import type { Programs } from "../lower/lower.ts";
import type { Answer, Question } from "./ahead-compiler.ts";
import { compileMadeUp, warmUpRounds } from "./warm-up.ts";

let rounds = 0;
let isAsked = false;

parentPort?.on("message", ({ id, problem, degrees: given, options = {} }: Question) => {
  isAsked = true;
  try {
    const degrees = given ?? chooseDegrees(problem);
    const programs = compilePrograms(problem, degrees, options);
    parentPort?.postMessage({ id, degrees, programs } satisfies Answer, buffersOf(programs));
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    parentPort?.postMessage({ id, message, isInputError: error instanceof InputError } satisfies Answer);
  }
});

setImmediate(warmUpUntilAsked);

/** Until there is something to do the thread warms up, a batch at a time. */
function warmUpUntilAsked(): void {
  if (isAsked || rounds === warmUpRounds) return;
  compileMadeUp(rounds++);
  setImmediate(warmUpUntilAsked);
}

/** The memory of the columns, each buffer once. */
function buffersOf({ blocks, ops, opBegin, parts }: Programs): ArrayBuffer[] {
  const columns = [...Object.values(blocks), ...Object.values(ops), opBegin];
  for (const { owned } of parts) columns.push(...Object.values(owned));
  return [...new Set(columns.map(({ buffer }) => buffer as ArrayBuffer))];
}
