import { InputError } from "@hsap/workload";

/** How ranks come into being: `local` are threads of this process, `started` says that this process is a rank already. */
export const launchers = ["local", "mpirun", "srun", "started"] as const;
export type Launcher = (typeof launchers)[number];

/** A job of one process for each rank. */
export interface Launch {
  readonly launcher: "mpirun" | "srun";
  readonly ranks: number;
  /** Physical nodes; where it is left out, the launcher puts ranks where it likes. */
  readonly nodes?: number | undefined;
  /** Addresses of the nodes, in rank order, for mpirun outside of an allocation. */
  readonly hosts?: readonly string[] | undefined;
  /** Further arguments of the launcher. */
  readonly args?: readonly string[] | undefined;
  /** What stands before the command of every rank, such as a script that puts it into a cgroup. */
  readonly wrapper?: readonly string[] | undefined;
}

/** What `mpirun --version` says it is. */
export type MpirunKind = "Open MPI" | "MPICH";

/**
 * The command line that starts `command` once for each rank, the ranks of a node one after another.
 *
 * @throws InputError if nodes do not divide the ranks, or hosts are not as many as nodes.
 */
export function launchCommand(launch: Launch, command: readonly string[], given: LaunchEnvironment): string[] {
  const { ranks, nodes, hosts, wrapper = [] } = launch;
  if (nodes !== undefined && ranks % nodes !== 0) {
    throw new InputError(`invalid nodes: ${nodes} (must divide ${ranks} ranks)`);
  }
  if (hosts !== undefined && hosts.length !== (nodes ?? hosts.length)) {
    throw new InputError(`invalid hosts: ${hosts.join(",")} (must be ${nodes}, one for each node)`);
  }
  if (hosts !== undefined && ranks % hosts.length !== 0) {
    throw new InputError(`invalid hosts: ${hosts.join(",")} (must divide ${ranks} ranks)`);
  }
  const wrapped = [...wrapper, ...command];
  if (launch.launcher === "srun") return [...srun(launch), ...wrapped];
  if (given.mpirun === "MPICH") return [...mpich(launch), ...sayingWhenKilled, ...wrapped];
  return [...openMpi(launch, given), ...wrapped];
}

export interface LaunchEnvironment {
  readonly mpirun: MpirunKind;
  /** Whether root starts the job: Open MPI refuses it unless told. */
  readonly root: boolean;
  /** Names of variables that every rank is to have. */
  readonly variables: readonly string[];
  /** How long a rank may be silent, in seconds; 12 if left out. */
  readonly timeoutS?: number | undefined;
}

function openMpi({ ranks, nodes, hosts, args = [] }: Launch, given: LaunchEnvironment): string[] {
  const { root, variables, timeoutS = 12 } = given;
  const perNode = ranks / (hosts?.length ?? nodes ?? 1);
  const spread =
    hosts !== undefined
      ? ["--host", hosts.map((host) => `${host}:${perNode}`).join(",")]
      : nodes !== undefined && nodes > 1
        ? ["--map-by", `ppr:${perNode}:node`]
        : [];
  return [
    "mpirun",
    ...(root ? ["--allow-run-as-root"] : []),
    // A rank computes and communicates on threads of its own, which must not be bound to one core.
    ...["--oversubscribe", "--bind-to", "none"],
    // A daemon whose mother is gone or cut off shall notice, and end its ranks: after they had the time to name one of them.
    ...mca("oob_tcp_keepalive_time", 5),
    ...mca("oob_tcp_keepalive_intvl", 2),
    ...mca("oob_tcp_keepalive_probes", Math.max(5, Math.ceil((timeoutS + 4) / 2))),
    // So many seconds ranks have to be continued, and as many to put their results in order, whenever the job is ended.
    ...mca("odls_base_sigkill_timeout", Math.min(3, Math.ceil(timeoutS / 4))),
    ...spread,
    ...args,
    ...["-n", `${ranks}`],
    ...variables.flatMap((name) => ["-x", name]),
  ];
}

const mca = (name: string, value: number): string[] => ["--mca", name, `${value}`];

function mpich({ ranks, nodes, hosts, args = [] }: Launch): string[] {
  const perNode = hosts ?? nodes;
  const count = typeof perNode === "number" ? perNode : perNode?.length;
  return [
    "mpirun",
    ...(hosts === undefined ? [] : ["-hosts", hosts.join(",")]),
    ...(count === undefined ? [] : ["-ppn", `${ranks / count}`]),
    // Every rank gets the whole environment; a list of variables would be all that it gets.
    "-genvall",
    ...args,
    ...["-n", `${ranks}`],
  ];
}

/**
 * MPICH's launcher kills all ranks when one of them has died, and names the first of them. So a shell waits for each, and says so
 * if it was killed. It hands no signal on, as the launcher signals whole process groups.
 */
const sayingWhenKilled = [
  ...["sh", "-c"],
  [
    "trap : INT TERM",
    '"$@"',
    "s=$?",
    '[ $s -le 128 ] || [ $s = 130 ] || [ $s = 143 ] || echo "hsap: rank $PMI_RANK on $(uname -n) was killed by signal $((s - 128))" >&2',
    "exit $s",
  ].join("; "),
  "rank",
];

/** srun gives its whole environment to the ranks. */
function srun({ ranks, nodes, hosts, args = [] }: Launch): string[] {
  return [
    "srun",
    // Open MPI and MPICH both speak PMIx or PMI-2; which one a cluster has can be said with --launcher-args.
    ...(args.some((arg) => arg.startsWith("--mpi")) ? [] : ["--mpi=pmix"]),
    // One failed rank ends the step.
    "--kill-on-bad-exit=1",
    "--overcommit",
    ...(nodes === undefined ? [] : [`--nodes=${nodes}`, `--ntasks-per-node=${ranks / nodes}`]),
    ...(hosts === undefined ? [] : [`--nodelist=${hosts.join(",")}`]),
    `--ntasks=${ranks}`,
    "--distribution=block",
    ...args,
  ];
}

/**
 * Splits arguments as a shell would: at spaces, except within quotes or after a backslash.
 *
 * @throws InputError if a quote is not closed.
 */
export function splitArguments(text: string): string[] {
  const words: string[] = [];
  let word: string | undefined;
  let quote = "";
  for (let i = 0; i < text.length; i++) {
    const character = text[i];
    if (quote !== "") {
      if (character === quote) quote = "";
      else word = (word ?? "") + character;
    } else if (character === '"' || character === "'") {
      quote = character;
      word ??= "";
    } else if (character === "\\" && i + 1 < text.length) {
      word = (word ?? "") + text[++i];
    } else if (/\s/.test(character)) {
      if (word !== undefined) words.push(word);
      word = undefined;
    } else {
      word = (word ?? "") + character;
    }
  }
  if (quote !== "") throw new InputError(`invalid arguments: ${text} (a ${quote} is not closed)`);
  if (word !== undefined) words.push(word);
  return words;
}

/** A command as a person would type it. */
export function commandText(command: readonly string[]): string {
  return command.map((word) => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`)).join(" ");
}
