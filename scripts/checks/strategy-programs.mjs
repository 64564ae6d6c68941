import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import { strategies } from "@hsap/bench";
import { clusterOf } from "@hsap/cluster";
import { encodeProgram } from "@hsap/engine";
import { lower } from "@hsap/schedule";
import { InputError, packedBatch } from "@hsap/workload";
import { $ } from "zx";
import { oneOutcome } from "./outcome.mjs";

const lengths = [5, 65, 1, 89, 40, 7, 130];
const rankCounts = [1, 2, 3, 4, 8];

/**
 * Runs small programs of every strategy, forward and backward, by the native program built in `build`, without Node: with a
 * thread sanitizer, a wait that lowering left out is a data race.
 */
export async function strategyPrograms(root, build) {
  const folder = path.join(root, build, "programs");
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  const files = [];
  for (const { name, program } of programs()) {
    files.push(path.join(folder, `${name}.program`));
    writeFileSync(files.at(-1), program);
  }
  const run = await $({ cwd: root, stdio: "inherit", nothrow: true })`${build}/test/hsap_run_programs ${files}`;
  return oneOutcome(run.exitCode === 0);
}

function* programs() {
  for (const strategy of strategies) {
    for (const ranks of rankCounts) {
      for (const pass of ["forward", "backward"]) {
        const problem = smallProblem(ranks, pass);
        for (const schedule of schedulesOf(strategy, problem)) {
          const degrees = Object.values(schedule.degrees).join("x");
          const name = [strategy.name, `${ranks}ranks`, degrees, pass].join("-");
          yield { name, program: encodeProgram(problem, lower(schedule)) };
        }
      }
    }
  }
}

function smallProblem(ranks, pass) {
  const shape = { heads: 8, kvHeads: 4, headDim: 16, dtype: "fp32" };
  const cluster = clusterOf({ ranks, ranksPerNode: Math.min(ranks, 4) });
  return { batch: packedBatch(lengths), shape, cluster, mask: "causal", pass };
}

/** A strategy's schedules at all degrees that it offers, but for those that it does not support. */
function schedulesOf(strategy, problem) {
  const given = supported(() => strategy.candidateDegrees(problem));
  return given.flat().flatMap((degrees) => supported(() => strategy.compile(problem, degrees)));
}

/** What `make` returns, in a list; an empty one if it refuses. */
function supported(make) {
  try {
    return [make()];
  } catch (error) {
    if (error instanceof InputError) return [];
    throw error;
  }
}
