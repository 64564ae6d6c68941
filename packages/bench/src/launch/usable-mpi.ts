import { spawnSync } from "node:child_process";
import { mpiLibrary } from "@hsap/engine";
import { InputError } from "@hsap/workload";
import type { MpirunKind } from "./launch-command.ts";

/**
 * What the `mpirun` on the path belongs to.
 *
 * @throws InputError if there is none, or one of another kind.
 */
export function mpirunKind(): MpirunKind {
  const { stdout, status } = spawnSync("mpirun", ["--version"], { encoding: "utf8" });
  if (status !== 0) {
    throw new InputError("missing mpirun: not found (apt-get install openmpi-bin libopenmpi-dev)");
  }
  if (stdout.includes("Open MPI") || stdout.includes("OpenRTE")) return "Open MPI";
  if (/HYDRA|MPICH|Intel\(R\) MPI/i.test(stdout)) return "MPICH";
  throw new InputError(`unknown mpirun: ${stdout.split("\n")[0]} (must be Open MPI's or MPICH's)`);
}

/** Why runs over MPI are not possible here, with the remedy; undefined if they are. */
export function whyNoMpi(): string | undefined {
  try {
    mpiLibrary();
    mpirunKind();
    return undefined;
  } catch (error) {
    return (error as Error).message;
  }
}
