import { errorsOf, expectedOf, outputNames, savedFrom, wrongOutputs } from "@hsap/bench";
import { run } from "@hsap/engine";
import { exitCodes } from "../exit-codes.ts";
import { seedOf } from "../given-problem.ts";
import type { CommandContext, VerifyOptions } from "../program.ts";
import { shortError } from "../table.ts";
import { threadsOf } from "../thread-options.ts";
import { readCompiled } from "./compile.ts";

/** `hsap verify --schedule FILE`: every rule of a stored schedule, then one run of it against the float64 reference. */
export async function verifySchedule(
  file: string,
  options: VerifyOptions,
  { output, finish }: CommandContext,
): Promise<void> {
  const { schedule, lowered, findings } = readCompiled(file, options);
  const { problem, strategy } = schedule;
  const seed = seedOf(options);
  const broken = findings.map(({ message }) => message);
  if (broken.length > 0) {
    output.out(
      options.json
        ? `${JSON.stringify({ strategy, verified: false, findings: broken }, null, 2)}\n`
        : `${broken.join("\n")}\n`,
    );
    finish(exitCodes.failed);
    return;
  }
  const expected = await expectedOf(problem, seed, 2);
  const saved = problem.pass === "backward" ? { saved: savedFrom(expected) } : {};
  const { outputs, digest, isa } = await run(schedule, { ...threadsOf(options), seed, lowered, ...saved });
  const errors = errorsOf(problem.pass, outputs, expected);
  const wrong = wrongOutputs(errors, problem.shape.dtype);
  if (options.json)
    output.out(`${JSON.stringify({ strategy, verified: true, findings: [], errors, wrong, digest, isa }, null, 2)}\n`);
  else {
    const shown = outputNames[problem.pass].map((name) => `${name} ${shortError(errors[name])}`).join(", ");
    output.out(
      `${strategy}, ${problem.pass}: every rule holds; relative L2 error ${shown}; ${wrong.length === 0 ? "ok" : "WRONG"}\n`,
    );
  }
  if (wrong.length > 0) finish(exitCodes.failed);
}
