import { existsSync, readFileSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { fingerprint } from "./fingerprint.mjs";
import { readStamp, writeStamp } from "./stamp.mjs";
import { checkCMake, findCompiler, hasNinja } from "./toolchain.mjs";

/** The native engine, its addon and its tests, in native/build. */
export const native = {
  name: "native engine",
  isFresh: (root) => existsSync(addon(root)) && readStamp(stampFile(root)) === wantedStamp(root),
  check(root) {
    const cmakeLists = readFileSync(path.join(root, "native/CMakeLists.txt"), "utf8");
    checkCMake(cmakeLists.match(/cmake_minimum_required\(VERSION (\d+\.\d+)/)[1]);
    findCompiler();
  },
  async make(root, say, run) {
    say("building the native engine");
    const wanted = wantedStamp(root);
    const build = path.join(root, "native/build");
    removeForeignBuild(root, build);
    await configureNative(root, build, "Release", run);
    await buildNative(build, run);
    writeStamp(stampFile(root), wanted);
  },
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

/** Builds what is configured in the folder `build`. */
export async function buildNative(build, run) {
  await run("cmake", ["--build", build, "-j", String(os.availableParallelism())]);
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
  return fingerprint(root, ["native", "scripts/setup/native.mjs", ...headers], `${process.platform}-${process.arch}`);
}

function addon(root) {
  return path.join(root, "native/build/hsap.node");
}

function stampFile(root) {
  return path.join(root, "native/build/.hsap-native");
}
