import { $ } from "zx";
import { typescript } from "../setup/typescript.mjs";
import { setUp } from "../setup.mjs";
import { oneOutcome } from "./outcome.mjs";

/** The packages' types; builds them on the way. */
export async function types(root) {
  await setUp(root, [typescript]);
  return oneOutcome(true);
}

/** The types of the packages' tests, against the packages' sources. */
export async function testTypes(root) {
  const run = await $({ cwd: root, stdio: "inherit", nothrow: true })`node_modules/.bin/tsc -p tsconfig.test.json`;
  return oneOutcome(run.exitCode === 0);
}
