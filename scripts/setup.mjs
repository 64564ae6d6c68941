/**
 * Makes the checkout ready to run: installs the locked packages and builds the native and the TypeScript part, each when,
 * and only when, it is missing or stale. Needs nothing but Node; progress goes to standard error.
 *
 *     node scripts/setup.mjs
 *
 * Each step leaves a stamp when it is done, so an interrupted set-up goes on with the step it was in, and two that run at
 * once take turns.
 */
import { readFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { withLock } from "./setup/lock.mjs";
import { native } from "./setup/native.mjs";
import { packages } from "./setup/packages.mjs";
import { stepRunner } from "./setup/run-step.mjs";
import { SetupError } from "./setup/setup-error.mjs";
import { checkNode } from "./setup/toolchain.mjs";
import { typescript } from "./setup/typescript.mjs";

/**
 * Brings the checkout at `root` up to date: by default with all that the `hsap` command needs.
 *
 * @throws SetupError if something is missing or a step fails.
 */
export async function setUp(root, steps = [packages, native, typescript]) {
  const { engines } = JSON.parse(readFileSync(path.join(root, "package.json"), "utf8"));
  checkNode(engines.node);
  const stale = () => steps.filter((step) => !step.isFresh(root));
  if (stale().length === 0) return;
  const bringUpToDate = async (noteGroup) => {
    const todo = stale();
    // What is missing on the machine is said before anything slow is done.
    for (const step of todo) step.check?.(root);
    for (const step of todo) await runTimed(step, root, stepRunner(root, noteGroup));
  };
  await withLock(path.join(root, ".setup/lock"), bringUpToDate, (pid) =>
    say(`waiting for the set-up in process ${pid}`),
  );
}

async function runTimed(step, root, run) {
  const start = performance.now();
  await step.make(root, say, run);
  say(`${step.name} ready (${((performance.now() - start) / 1000).toFixed(1)} s)`);
}

function say(line) {
  process.stderr.write(`setup: ${line}\n`);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  try {
    await setUp(fileURLToPath(new URL("..", import.meta.url)));
  } catch (error) {
    if (!(error instanceof SetupError)) throw error;
    say(error.message);
    process.exitCode ||= 1;
  }
}
