import { existsSync, readFileSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { fingerprint } from "./fingerprint.mjs";
import { readStamp, writeStamp } from "./stamp.mjs";
import { checkCMake, findCompiler, findMpi, hasNinja } from "./toolchain.mjs";

/**
 * The native engine as the addon that the packages load, native/build/hsap.node, and beside it, where there is an MPI, the mpi
 * transport, native/build/hsap_mpi.so.
 */
export const native = {
  name: "native engine",
  isFresh: (root) => existsSync(addon(root)) && readStamp(stampFile(root, "addon")) === wantedStamp(root),
  check: checkTools,
  async make(root, say, run) {
    // One that is left of an earlier build would not fit.
    if (!findMpi()) rmSync(path.join(root, "native/build/hsap_mpi.so"), { force: true });
    await build(root, "addon", ["--target", "hsap_addon"], say, run);
    say(findMpi() ? "with the mpi transport" : `without the mpi transport: no MPI found (${mpiRemedy})`);
  },
};

/** All the rest of native/build: tests and benchmarks. */
export const nativeTestPrograms = {
  name: "native tests",
  isFresh: (root) => readStamp(stampFile(root, "all")) === wantedStamp(root),
  check: checkTools,
  make: (root, say, run) => build(root, "all", [], say, run),
};

/** Configures the native project in the folder `build`, by `run` of a step runner; `more` are further options of cmake. */
export async function configureNative(root, build, buildType, run, ...more) {
  // A folder that is configured keeps its generator; naming another would fail.
  const generator = !existsSync(path.join(build, "CMakeCache.txt")) && hasNinja() ? ["-G", "Ninja"] : [];
  const options = [
    ...["-S", path.join(root, "native"), "-B", build, ...generator, "--log-level=WARNING"],
    `-DCMAKE_BUILD_TYPE=${buildType}`,
    `-DNODE_ADDON_API_INCLUDE_DIR=${path.join(root, "node_modules/node-addon-api")}`,
    `-DNODE_API_HEADERS_INCLUDE_DIR=${path.join(root, "node_modules/node-api-headers/include")}`,
    ...more,
  ];
  await run("cmake", options, { ...process.env, CXX: findCompiler() });
}

/** Builds what is configured in `folder`; `more` are further options of cmake. */
export async function buildNative(folder, run, ...more) {
  await run("cmake", ["--build", folder, "-j", String(os.availableParallelism()), ...more]);
}

async function build(root, what, options, say, run) {
  say(what === "all" ? "building the native tests" : "building the native engine");
  const wanted = wantedStamp(root);
  const folder = path.join(root, "native/build");
  removeForeignBuild(root, folder);
  const mpi = `-DCMAKE_DISABLE_FIND_PACKAGE_MPI=${findMpi() ? "OFF" : "ON"}`;
  await configureNative(root, folder, "Release", run, mpi);
  await buildNative(folder, run, ...options);
  writeStamp(stampFile(root, what), wanted);
}

const mpiRemedy = "for runs on several nodes: apt-get install openmpi-bin libopenmpi-dev";

function checkTools(root) {
  const cmakeLists = readFileSync(path.join(root, "native/CMakeLists.txt"), "utf8");
  checkCMake(cmakeLists.match(/cmake_minimum_required\(VERSION (\d+\.\d+)/)[1]);
  findCompiler();
}

/** A build folder that came along with a copied checkout names the old place, and CMake refuses it. */
function removeForeignBuild(root, build) {
  const cache = path.join(build, "CMakeCache.txt");
  if (!existsSync(cache)) return;
  const home = readFileSync(cache, "utf8").match(/^CMAKE_HOME_DIRECTORY:INTERNAL=(.*)$/m)?.[1];
  if (home !== path.join(root, "native")) rmSync(build, { recursive: true });
}

function wantedStamp(root) {
  const headers = ["node-addon-api", "node-api-headers"].map((name) => `node_modules/${name}/package.json`);
  // An MPI that comes, goes or changes makes another mpi transport.
  const machine = `${process.platform}-${process.arch} ${findMpi() ?? "no MPI"}`;
  return fingerprint(root, ["native", "scripts/setup/native.mjs", ...headers], machine);
}

function addon(root) {
  return path.join(root, "native/build/hsap.node");
}

/** In the build folder, so that it goes when that does. */
function stampFile(root, what) {
  return path.join(root, `native/build/.hsap-${what}`);
}
