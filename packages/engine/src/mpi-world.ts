import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { addon, type NativeMpiInfo } from "./addon.ts";
import { EngineError } from "./engine-error.ts";
import { finished } from "./native-job.ts";

/** The MPI that the transport was built for. */
export interface MpiLibrary {
  /** Name and version of the implementation. */
  readonly library: string;
  /** Version of the MPI standard that it supports. */
  readonly standard: string;
}

export interface MpiOptions {
  /** A rank that hears nothing from a neighbour for so long ends the job; 12 if left out. */
  readonly timeoutS?: number;
  /** The longest sleep between two looks at pending transfers; 2000 if left out. */
  readonly pollUs?: number;
  /** Whether groups that are collectives move by MPI's own; true if left out. */
  readonly collectives?: boolean;
}

/**
 * This process as one rank of an MPI job. Methods that involve other ranks are called by all of them alike, in the same order
 * and one at a time.
 */
export interface MpiWorld extends NativeMpiInfo {
  /** Every rank gets the bytes of `root`; what the others give does not matter. */
  broadcast(bytes: Uint8Array, root?: number): Promise<Uint8Array>;
  /** The bytes of every rank, by rank, at `root`; none elsewhere. */
  gather(bytes: Uint8Array, root?: number): Promise<Uint8Array[]>;
  /** Waits for all ranks and leaves MPI: the last call. */
  finish(): Promise<void>;
  /** This rank takes no part any more; whatever it waits for ends with an error of code `aborted`. The process should end soon. */
  leave(): void;
  /** Prints the line on standard error and ends the whole job with exit code 1. */
  fail(line: string): never;
}

/** One that is built for another MPI than the one set-up found may take its place. */
const given = process.env.HSAP_MPI_LIBRARY;
const path = given || fileURLToPath(new URL("../../../native/build/hsap_mpi.so", import.meta.url));

/**
 * The MPI that the transport was built for.
 *
 * @throws EngineError with code `mpi-missing` where it was not built or does not load, with the remedy.
 */
export function mpiLibrary(): MpiLibrary {
  checkBuilt();
  return addon().mpiDescribe(path);
}

/**
 * Joins the MPI job that this process was started in, by mpirun or srun; started by itself, it is a job of one rank. Once in a
 * process.
 *
 * @throws EngineError with code `mpi-missing` as above, or `mpi-failed` where MPI does not start.
 */
export function joinMpi({ timeoutS = 12, pollUs = 2000, collectives = true }: MpiOptions = {}): MpiWorld {
  checkBuilt();
  const native = addon();
  return {
    ...native.mpiJoin(path, { timeoutS, pollUs, collectives }),
    broadcast: async (bytes, root = 0) => (await finished(() => native.mpiBroadcast(bytes, root), undefined))[0],
    gather: (bytes, root = 0) => finished(() => native.mpiGather(bytes, root), undefined),
    finish: async () => {
      await finished(() => native.mpiFinish(), undefined);
    },
    leave: () => native.mpiLeave(),
    fail: (line) => native.mpiFail(line),
  };
}

function checkBuilt(): void {
  if (existsSync(path)) return;
  if (given) throw new EngineError("mpi-missing", `unknown HSAP_MPI_LIBRARY: ${given} (there is no such file)`);
  throw new EngineError(
    "mpi-missing",
    "the mpi transport is not built (apt-get install openmpi-bin libopenmpi-dev, then npm run setup)",
  );
}
