/**
 * Runs every check of the project and counts them.
 *
 *     node scripts/test.mjs [OPTIONS OF VITEST]
 *
 * Works as the first command after a clone. Says what was skipped and why; ends with the line `N passed, N failed`, and
 * exits with 1 if anything failed.
 */
import { fileURLToPath } from "node:url";
import { native } from "./setup/native.mjs";
import { packages } from "./setup/packages.mjs";
import { SetupError } from "./setup/setup-error.mjs";
import { setUp } from "./setup.mjs";

const root = fileURLToPath(new URL("..", import.meta.url));

/** The checks in their order; each returns an outcome, and a check that throws has failed. */
async function namedChecks(vitestOptions) {
  // These need the packages that set-up installs.
  const { lint, nativeFormat } = await import("./checks/source-style.mjs");
  const { boundaries } = await import("./checks/boundaries.mjs");
  const { types, testTypes } = await import("./checks/types.mjs");
  const { vitestTests } = await import("./checks/vitest-tests.mjs");
  const { builtNativeTests } = await import("./checks/native-tests.mjs");
  return {
    "types of the packages": () => types(root),
    "types of the tests": () => testTypes(root),
    "lint and formatting": () => lint(root),
    "formatting of native code": () => nativeFormat(root),
    "package boundaries": () => boundaries(root),
    "tests of the packages": () => vitestTests(root, vitestOptions),
    "tests of the native engine": () => builtNativeTests(root),
  };
}

async function runChecks(checks) {
  const outcomes = [];
  for (const [name, check] of Object.entries(checks)) {
    console.log(`\n== ${name}`);
    const outcome = await check().catch((error) => {
      console.error(error instanceof SetupError ? `setup: ${error.message}` : error);
      return { passed: 0, failed: 1 };
    });
    console.log(`== ${name}: ${outcome.passed} passed, ${outcome.failed} failed`);
    outcomes.push(outcome);
  }
  const { totalOutcome } = await import("./checks/outcome.mjs");
  return totalOutcome(outcomes);
}

async function main() {
  try {
    // What else a check needs it sets up itself, so that one broken build does not hide what the others find.
    await setUp(root, [packages, native]);
  } catch (error) {
    if (!(error instanceof SetupError)) throw error;
    process.stderr.write(`setup: ${error.message}\n`);
    return { passed: 0, failed: 1, skipped: [] };
  }
  return runChecks(await namedChecks(process.argv.slice(2)));
}

const { passed, failed, skipped } = await main();
console.log("");
for (const { name, reason } of skipped) console.log(`skipped: ${name} (${reason})`);
console.log(`${passed} passed, ${failed} failed`);
process.exitCode = failed === 0 ? 0 : 1;
