import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { type MpiLibrary, mpiLibrary } from "@hsap/engine";
import { InputError } from "@hsap/workload";
import { JobReport } from "./job-report.ts";
import { launchCommand, type MpirunKind } from "./launch-command.ts";

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

/** What two ranks on this machine found out. */
export interface MpiProbe extends MpiLibrary {
  readonly threadLevel: string;
  readonly sharesMemory: boolean;
}

/**
 * Starts two ranks on this machine by mpirun, and has them exchange bytes.
 *
 * @throws InputError or EngineError with the reason and the remedy if that is not possible.
 */
export function probeMpi(): MpiProbe {
  mpiLibrary();
  const probe = fileURLToPath(new URL("../../bin/mpi-probe.js", import.meta.url));
  const given = { mpirun: mpirunKind(), root: process.getuid?.() === 0, variables: [] };
  const [program, ...args] = launchCommand({ launcher: "mpirun", ranks: 2 }, [process.execPath, probe], given);
  const { stdout, stderr, status, signal } = spawnSync(program, args, { encoding: "utf8", timeout: 30_000 });
  if (status === 0) return JSON.parse(stdout) as MpiProbe;
  const report = new JobReport();
  for (const line of stderr.split("\n")) report.takes(line);
  throw new InputError(signal === null ? report.cause(program, status, null) : `two ranks did not end within 30 s`);
}
