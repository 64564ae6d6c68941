import { $ } from "zx";
import { oneOutcome } from "./outcome.mjs";

/** The type check of the packages and, beside them, of their tests. */
export async function types(root) {
  const run = await $({ cwd: root, stdio: "inherit", nothrow: true })`node_modules/.bin/tsc -b`;
  return oneOutcome(run.exitCode === 0);
}

export async function testTypes(root) {
  const run = await $({ cwd: root, stdio: "inherit", nothrow: true })`node_modules/.bin/tsc -p tsconfig.test.json`;
  return oneOutcome(run.exitCode === 0);
}
