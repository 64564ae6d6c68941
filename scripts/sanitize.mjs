/**
 * Builds the native engine's tests with sanitizers and runs them, and small programs of every strategy, of attention and of
 * the stages of training steps: address with undefined behaviour, then threads.
 *
 *     node scripts/sanitize.mjs
 *
 * Ends with the line `N passed, N failed`, and exits with 1 if anything failed.
 */
import path from "node:path";
import { fileURLToPath } from "node:url";
import { nativeTests } from "./checks/native-tests.mjs";
import { totalOutcome } from "./checks/outcome.mjs";
import { stagePrograms } from "./checks/stage-programs.mjs";
import { strategyPrograms } from "./checks/strategy-programs.mjs";
import { buildNative, configureNative } from "./setup/native.mjs";
import { stepRunner } from "./setup/run-step.mjs";

const root = fileURLToPath(new URL("..", import.meta.url));

const builds = [
  { build: "native/build-asan", sanitize: "address,undefined" },
  { build: "native/build-tsan", sanitize: "thread" },
];

// A finding ends the program that has it, so that ctest counts it as failed.
process.env.ASAN_OPTIONS ??= "abort_on_error=0:detect_leaks=1";
process.env.UBSAN_OPTIONS ??= "halt_on_error=1:print_stacktrace=1";
process.env.TSAN_OPTIONS ??= "halt_on_error=1:second_deadlock_stack=1";

const run = stepRunner(root);
const outcomes = [];
for (const { build, sanitize } of builds) {
  console.log(`\n== ${sanitize}`);
  const folder = path.join(root, build);
  await configureNative(root, folder, "RelWithDebInfo", run, `-DHSAP_SANITIZE=${sanitize}`);
  await buildNative(folder, run);
  // Under the sanitizers the tests take up to twenty times as long.
  const outcome = totalOutcome([
    await nativeTests(root, build, 3600),
    await strategyPrograms(root, build),
    await stagePrograms(root, build),
  ]);
  console.log(`== ${sanitize}: ${outcome.passed} passed, ${outcome.failed} failed`);
  outcomes.push(outcome);
}

const { passed, failed } = totalOutcome(outcomes);
console.log(`\n${passed} passed, ${failed} failed`);
process.exitCode = failed === 0 ? 0 : 1;
