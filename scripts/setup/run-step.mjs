import { spawnSync } from "node:child_process";
import os from "node:os";
import { SetupError } from "./setup-error.mjs";

/**
 * Runs a program from `root`, its output on standard error: standard output belongs to the command that set-up is for.
 *
 * @throws SetupError if it cannot be started, is ended by a signal or fails.
 */
export function runStep(root, program, options, env = process.env) {
  const { error, signal, status } = spawnSync(program, options, { cwd: root, env, stdio: ["ignore", 2, 2] });
  const command = [program, ...options].join(" ");
  if (error) throw new SetupError(`cannot start ${program} (${error.message})`);
  if (signal) {
    process.exitCode = 128 + os.constants.signals[signal];
    throw new SetupError(`ended by ${signal}: ${command}`);
  }
  if (status !== 0) throw new SetupError(`failed with exit code ${status}: ${command} (its messages are above)`);
}
