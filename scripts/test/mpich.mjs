import { spawnSync } from "node:child_process";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { programPath } from "../emulate-cluster/requirements.mjs";
import { buildNative, configureNative } from "../setup/native.mjs";
import { stepRunner } from "../setup/run-step.mjs";

const root = fileURLToPath(new URL("../..", import.meta.url));

/** Why nothing can run with MPICH here; none if it can. */
export function whyNoMpich() {
  if (programPath("mpiexec.hydra") !== undefined && compiler() !== undefined) return [];
  return ["no MPICH (apt-get install mpich libmpich-dev)"];
}

/** The mpi transport built for MPICH, whichever MPI set-up has found, in a build folder of its own; returns its path. */
export async function mpichTransport() {
  const folder = path.join(root, "native/build-mpich");
  const run = stepRunner(root);
  await configureNative(root, folder, "Release", run, `-DMPI_CXX_COMPILER=${compiler()}`);
  await buildNative(folder, run, "--target", "hsap_mpi");
  return path.join(folder, "hsap_mpi.so");
}

/** The compiler of MPICH: where two MPIs are installed, Debian calls it by a name of its own. */
function compiler() {
  const isMpich = (name) => spawnSync(name, ["-show"], { encoding: "utf8" }).stdout?.includes("mpich") ?? false;
  return ["mpicxx.mpich", "mpicxx"].find(isMpich);
}
