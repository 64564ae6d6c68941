import { chmodSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { commandText, sbatchScript, workspacePath } from "@hsap/bench";
import { InputError } from "@hsap/workload";
import { launchLine } from "../launch-options.ts";
import { oneOf, wholeNumber } from "../option-values.ts";
import type { CommandContext, JobOptions } from "../program.ts";

/** `hsap job`: a batch script that runs an experiment on the nodes of a cluster. */
export function job(command: readonly string[], options: JobOptions, { output }: CommandContext): void {
  if (!options.slurm) throw new InputError("missing option: --slurm (it is the only batch system known)");
  if (command[0] !== "experiment") {
    throw new InputError(`invalid command: ${command[0]} (a job runs an experiment: -- experiment evaluation)`);
  }
  const nodes = wholeNumber("nodes", options.nodes ?? "1");
  const ranksPerNode = wholeNumber("ranks-per-node", options.ranksPerNode ?? "4");
  const launcher = oneOf("launcher", options.launcher ?? "srun", ["srun", "mpirun"]);
  const bin = fileURLToPath(new URL("../../bin/hsap.js", import.meta.url));
  const launch = {
    launcher,
    nodes: `${nodes}`,
    ...(options.launcherArgs !== undefined && { launcherArgs: options.launcherArgs }),
  };
  const asked = ["--launcher", launcher, "--nodes", `${nodes}`, "--ranks-per-node", `${ranksPerNode}`];
  const args = options.launcherArgs === undefined ? [] : ["--launcher-args", options.launcherArgs];
  const script = sbatchScript({
    name: `hsap-${command[1]?.startsWith("-") === false ? command[1] : "evaluation"}`,
    nodes,
    ranksPerNode,
    cpusPerRank: options.cpusPerRank === undefined ? undefined : wholeNumber("cpus-per-rank", options.cpusPerRank),
    partition: options.partition,
    timeLimit: options.time,
    directives: options.sbatch,
    folder: workspacePath("").replace(/\/$/, ""),
    commands: [[process.execPath, bin, ...command, ...asked, ...args]],
  });
  const file = options.out ?? "hsap-job.sh";
  const submit = commandText(["sbatch", file]);
  if (options.dryRun) {
    const ranks = nodes * ranksPerNode;
    const rank = [process.execPath, bin, ...command, "--ranks", `${ranks}`, "--ranks-per-node", `${ranksPerNode}`];
    const start = launchLine(launch, ranks, [...rank, "--launcher", "started"]);
    output.out(`# ${file}\n${script}# submits it\n${submit}\n# which starts the ranks\n${commandText(start)}\n`);
    return;
  }
  try {
    writeFileSync(file, script);
    chmodSync(file, 0o755);
  } catch (error) {
    throw new InputError(`unwritable file: ${file} (${(error as Error).message})`);
  }
  output.out(`${submit}\n`);
}
