import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import { InputError } from "@hsap/workload";
import { $ } from "zx";
import { oneOutcome } from "./outcome.mjs";

/**
 * Writes programs for the engine, each `{ name, program }`, into a folder of the native build `build`, and runs all of them by the
 * test program `runner` that is built there, without Node.
 */
export async function runPrograms(root, build, { folder, runner }, programs) {
  const written = path.join(root, build, folder);
  rmSync(written, { recursive: true, force: true });
  mkdirSync(written, { recursive: true });
  const files = [];
  for (const { name, program } of programs) {
    files.push(path.join(written, `${name}.program`));
    writeFileSync(files.at(-1), program);
  }
  const run = await $({ cwd: root, stdio: "inherit", nothrow: true })`${build}/test/${runner} ${files}`;
  return oneOutcome(run.exitCode === 0);
}

/** What `make` returns, in a list; an empty one if it refuses. */
export function supported(make) {
  try {
    return [make()];
  } catch (error) {
    if (error instanceof InputError) return [];
    throw error;
  }
}
