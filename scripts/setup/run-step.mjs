import { spawn } from "node:child_process";
import os from "node:os";
import { SetupError } from "./setup-error.mjs";

/**
 * Returns `run(program, options, env)`, which runs a program from `root` to its end, its output on standard error: standard
 * output belongs to the command that set-up is for. `onStart(group)` is told the process group of each program.
 *
 * A signal that would end us ends the program first, so that nothing goes on writing behind our back. `run` throws a
 * SetupError if the program cannot be started, is ended by a signal or fails.
 */
export function stepRunner(root, onStart = () => {}) {
  return async (program, options, env = process.env) => {
    // A group of its own lets a signal reach the program's children too.
    const child = spawn(program, options, { cwd: root, env, stdio: ["ignore", 2, 2], detached: true });
    const forward = (signal) => {
      interruption = signal;
      endGroup(child.pid, signal);
    };
    let interruption;
    for (const signal of interruptions) process.on(signal, forward);
    try {
      const { error, status, signal } = await ending(child, onStart);
      const command = [program, ...options].join(" ");
      if (error) throw new SetupError(`cannot start ${program} (${error.message})`);
      if (interruption) throw interruptedBy(interruption, command);
      if (signal) throw new SetupError(`ended by ${signal}: ${command}`);
      if (status !== 0) throw new SetupError(`failed with exit code ${status}: ${command} (its messages are above)`);
    } finally {
      for (const signal of interruptions) process.off(signal, forward);
    }
  };
}

const interruptions = ["SIGINT", "SIGTERM", "SIGHUP"];

function ending(child, onStart) {
  if (child.pid !== undefined) onStart(child.pid);
  return new Promise((resolve) => {
    child.once("error", (error) => resolve({ error }));
    child.once("exit", (status, signal) => resolve({ status, signal }));
  });
}

function endGroup(group, signal) {
  try {
    process.kill(-group, signal);
  } catch (error) {
    if (error.code !== "ESRCH") throw error;
  }
}

function interruptedBy(signal, command) {
  process.exitCode = 128 + os.constants.signals[signal];
  return new SetupError(`interrupted by ${signal}: ${command} (the next set-up goes on from here)`);
}
