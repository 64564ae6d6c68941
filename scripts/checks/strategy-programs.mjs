import { strategies } from "@hsap/bench";
import { clusterOf } from "@hsap/cluster";
import { encodeProgram } from "@hsap/engine";
import { lower } from "@hsap/schedule";
import { packedBatch } from "@hsap/workload";
import { runPrograms, supported } from "./native-programs.mjs";

const lengths = [5, 65, 1, 89, 40, 7, 130];
const rankCounts = [1, 2, 3, 4, 8];

/**
 * Runs small programs of every strategy, forward and backward, by the native program built in `build`, without Node: with a
 * thread sanitizer, a wait that lowering left out is a data race.
 */
export function strategyPrograms(root, build) {
  return runPrograms(root, build, { folder: "programs", runner: "hsap_run_programs" }, programs());
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
