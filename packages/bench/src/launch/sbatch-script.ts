import { commandText } from "./launch-command.ts";

/** What a batch job asks Slurm for. */
export interface SlurmJob {
  readonly name: string;
  readonly nodes: number;
  readonly ranksPerNode: number;
  /** Processors of each rank: Slurm's choice where left out. */
  readonly cpusPerRank?: number | undefined;
  readonly partition?: string | undefined;
  /** As Slurm writes it: `30`, `1:00:00`. */
  readonly timeLimit?: string | undefined;
  /** Further lines of #SBATCH, without that word. */
  readonly directives?: readonly string[] | undefined;
  /** The folder of the checkout: the job runs there. */
  readonly folder: string;
  /** What runs on the first node; it starts the ranks itself. */
  readonly commands: readonly (readonly string[])[];
}

/**
 * An sbatch script. It asks to be told 60 s before the time limit, and passes that on: the experiment then ends cleanly, and the
 * same script goes on from there.
 */
export function sbatchScript(job: SlurmJob): string {
  const { name, nodes, ranksPerNode, cpusPerRank, partition, timeLimit, directives = [], folder, commands } = job;
  const asked = [
    `--job-name=${name}`,
    `--nodes=${nodes}`,
    `--ntasks-per-node=${ranksPerNode}`,
    ...(cpusPerRank === undefined ? [] : [`--cpus-per-task=${cpusPerRank}`]),
    ...(partition === undefined ? [] : [`--partition=${partition}`]),
    ...(timeLimit === undefined ? [] : [`--time=${timeLimit}`]),
    "--signal=B:TERM@60",
    ...directives,
  ];
  return [
    "#!/usr/bin/env bash",
    ...asked.map((directive) => `#SBATCH ${directive}`),
    "set -uo pipefail",
    `cd ${commandText([folder])}`,
    // A shell sees a signal only between commands, unless the command runs beside it.
    "command=",
    "trap 'kill -TERM \"$command\" 2>/dev/null' TERM INT",
    "run() {",
    '  "$@" &',
    "  command=$!",
    "  local status",
    // A wait ends at the signal; the command has its results to put in order.
    '  until wait "$command"; status=$?; [ "$status" -le 128 ] || ! kill -0 "$command" 2>/dev/null; do :; done',
    '  return "$status"',
    "}",
    ...commands.map((command) => `run ${commandText(command)} || exit`),
    "",
  ].join("\n");
}
