import { readFileSync } from "node:fs";
import { CommanderError } from "commander";
import { exitCodes } from "./exit-codes.ts";
import { type Output, processOutput } from "./output.ts";
import { program } from "./program.ts";

/**
 * Runs the `hsap` command and returns its exit code. Results go to `output.out`, progress and errors to `output.err`; nothing
 * is thrown.
 */
export async function main(args: readonly string[], output: Output = processOutput()): Promise<number> {
  try {
    let exitCode: number = exitCodes.ok;
    const finish = (code: number) => {
      exitCode = code;
    };
    await program({ output, version: version(), args, finish }).parseAsync(args, { from: "user" });
    return exitCode;
  } catch (error) {
    return report(error, output);
  }
}

function report(error: unknown, output: Output): number {
  if (error instanceof CommanderError) {
    // Asking for help or the version is not a failure.
    if (error.exitCode === 0) return exitCodes.ok;
    if (error.code === "commander.help") return exitCodes.invalidInput;
    output.err(`hsap: ${error.message.replace(/^error: /, "").replaceAll("\n", " ")}\n`);
    return exitCodes.invalidInput;
  }
  const failure = error instanceof Error ? error : new Error(String(error));
  if (failure.name === "Interrupted") {
    // A rank that only followed has nothing to say.
    if (failure.message !== "") output.err(`hsap: ${failure.message}\n`);
    return exitCodes.interrupted;
  }
  output.err(`hsap: ${process.env.HSAP_DEBUG ? failure.stack : firstLine(failure.message)}\n`);
  return (failure as { code?: unknown }).code === "invalid-input" ? exitCodes.invalidInput : exitCodes.failed;
}

function version(): string {
  return (JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8")) as { version: string }).version;
}

function firstLine(text: string): string {
  return text.split("\n")[0];
}
