import { existsSync, readFileSync, rmSync } from "node:fs";
import path from "node:path";
import { $ } from "zx";
import { nativeTestPrograms } from "../setup/native.mjs";
import { setUp } from "../setup.mjs";

/** The tests of the native engine; builds them on the way. */
export async function builtNativeTests(root) {
  await setUp(root, [nativeTestPrograms]);
  return nativeTests(root, "native/build", 300);
}

/** The tests of the native engine that are built in the folder `build`; each may take `timeoutS`. */
export async function nativeTests(root, build, timeoutS) {
  const file = path.join(root, build, "junit.xml");
  rmSync(file, { force: true });
  const options = [
    "--test-dir",
    build,
    "--output-on-failure",
    "--no-tests=error",
    "--timeout",
    String(timeoutS),
    "--output-junit",
    file,
  ];
  const run = await $({ cwd: root, stdio: "inherit", nothrow: true })`ctest ${options}`;
  return nativeOutcome(existsSync(file) ? readFileSync(file, "utf8") : "", run.exitCode);
}

/**
 * The outcome of a ctest run, from its JUnit report and exit code. A test that could not be run counts as failed, and so
 * does a run that failed without a failed test, or had no test.
 */
export function nativeOutcome(junit, exitCode) {
  const tests = [...junit.matchAll(/<testcase name="([^"]*)"[^>]*? status="([^"]*)"/g)];
  const inState = (state) => tests.filter(([, , status]) => status === state);
  const passed = inState("run").length;
  const disabled = inState("disabled");
  let failed = tests.length - passed - disabled.length;
  if (failed === 0 && (exitCode !== 0 || passed === 0)) failed = 1;
  return {
    passed,
    failed,
    skipped: disabled.map(([, name]) => ({ name: `native ${name}`, reason: "disabled in CMake" })),
  };
}
