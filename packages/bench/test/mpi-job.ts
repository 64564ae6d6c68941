import { fileURLToPath } from "node:url";
import { launchCommand } from "../src/launch/launch-command.ts";
import { runLaunched } from "../src/launch/launched-job.ts";
import { mpirunKind } from "../src/launch/usable-mpi.ts";

/** Starts the ranks of `mpi-rank.mjs` by mpirun on this machine. Throws JobFailed if the job fails. */
export async function startRanks(
  ranks: number,
  name: string,
  wrapper: readonly string[] = [],
): Promise<{ out: string[]; err: string[] }> {
  const said = { out: [] as string[], err: [] as string[] };
  await startRanksInto(said, ranks, name, wrapper);
  return said;
}

export async function startRanksInto(
  { out, err }: { out: string[]; err: string[] },
  ranks: number,
  name: string,
  wrapper: readonly string[] = [],
): Promise<void> {
  const script = fileURLToPath(new URL("mpi-rank.mjs", import.meta.url));
  const root = process.getuid?.() === 0;
  const command = launchCommand({ launcher: "mpirun", ranks, wrapper }, [process.execPath, script, name], {
    ...{ mpirun: mpirunKind(), root, variables: [] },
  });
  await runLaunched(command, { onOut: (line) => out.push(line), onErr: (line) => err.push(line) });
}
