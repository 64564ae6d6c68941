import { existsSync, readFileSync, rmSync } from "node:fs";
import path from "node:path";
import { $ } from "zx";

/** The tests of all packages; `options` go to vitest. */
export async function vitestTests(root, options) {
  const file = path.join(root, ".setup/vitest-counts.json");
  rmSync(file, { force: true });
  const env = { ...process.env, VITEST_COUNTS: file };
  const reporters = ["--reporter=default", "--reporter=./scripts/checks/vitest-counts.mjs"];
  const run = await $({
    cwd: root,
    env,
    stdio: "inherit",
    nothrow: true,
  })`node_modules/.bin/vitest run ${reporters} ${options}`;
  const counts = existsSync(file) ? JSON.parse(readFileSync(file, "utf8")) : undefined;
  for (const { name, reason } of counts?.skipped ?? []) if (!reason) console.log(`skipped without a reason: ${name}`);
  return vitestOutcome(counts, run.exitCode);
}

/**
 * The outcome of a vitest run, from what its reporter counted (undefined if it did not come to its end) and its exit code.
 * Tests that never ran count as failed unless they say why they were skipped, and so does a run that failed without a failed
 * test, or had no test.
 */
export function vitestOutcome(counts, exitCode) {
  if (!counts) return { passed: 0, failed: 1 };
  const { passed, skipped, pending, brokenModules, unhandledErrors } = counts;
  const silent = skipped.filter(({ reason }) => reason === "");
  let failed = counts.failed + pending.length + brokenModules.length + unhandledErrors.length + silent.length;
  if (failed === 0 && (exitCode !== 0 || passed === 0)) failed = 1;
  return { passed, failed, skipped: skipped.filter(({ reason }) => reason !== "") };
}
