import { spawnSync } from "node:child_process";
import { SetupError } from "./setup-error.mjs";

/**
 * Checks this Node against `engines.node`, which has the form `>=20.19`.
 *
 * @throws SetupError if it is older.
 */
export function checkNode(engines, version = process.versions.node) {
  const wanted = engines.replace(/^>=/, "");
  if (isOlder(version, wanted)) {
    throw new SetupError(`Node ${version} is too old (needs ${wanted} or newer: install it from nodejs.org)`);
  }
}

/**
 * The command of a compiler that takes C++20: `CXX` from the environment, or the first of c++, g++, clang++.
 *
 * @throws SetupError if there is none.
 */
export function findCompiler(environment = process.env) {
  const candidates = environment.CXX ? [environment.CXX] : ["c++", "g++", "clang++"];
  const probe =
    "#include <concepts>\n#include <semaphore>\ntemplate <std::integral T> T f(T x) { return x; }\nint main() { return f(0); }\n";
  const found = candidates.find((command) => {
    const [program, ...options] = command.split(" ");
    const run = spawnSync(program, [...options, "-std=c++20", "-fsyntax-only", "-x", "c++", "-"], {
      input: probe,
      env: environment,
    });
    return run.status === 0;
  });
  if (found) return found;
  throw new SetupError(
    `no C++20 compiler among ${candidates.join(", ")} (install one: apt-get install g++, or set CXX)`,
  );
}

/**
 * Checks that CMake is there and not older than `wanted`, such as `3.21`.
 *
 * @throws SetupError otherwise.
 */
export function checkCMake(wanted, environment = process.env) {
  const run = spawnSync("cmake", ["--version"], { encoding: "utf8", env: environment });
  const version = run.stdout?.match(/cmake version (\d+\.\d+)/)?.[1];
  if (!version) throw new SetupError(`no cmake found (needs ${wanted} or newer: apt-get install cmake)`);
  if (isOlder(version, wanted)) throw new SetupError(`cmake ${version} is too old (needs ${wanted} or newer)`);
}

let mpi;

/** How the MPI compiler on the path compiles, which tells one MPI from another; null if there is none. Asked once. */
export function findMpi() {
  if (mpi === undefined) {
    const run = spawnSync("mpicxx", ["-show"], { encoding: "utf8" });
    mpi = run.status === 0 ? run.stdout.trim() : null;
  }
  return mpi;
}

/** Whether the `ninja` build tool is there. */
export function hasNinja() {
  return spawnSync("ninja", ["--version"]).status === 0;
}

function isOlder(version, wanted) {
  const [major, minor] = version.split(".").map(Number);
  const [wantedMajor, wantedMinor = 0] = wanted.split(".").map(Number);
  return major < wantedMajor || (major === wantedMajor && minor < wantedMinor);
}
