import { hostname } from "node:os";
import { RankHosts } from "./rank-hosts.ts";

/** What the first rank says before the reason, so that the launching process can end with the exit code of invalid input. */
export const invalidInputLine = "hsap: the input is not valid";

/** Sorts what is written on standard error into what ranks say and what their launcher says. */
export class JobReport {
  #cause: string | undefined;
  /** What the first rank said of its results because the job was ending. */
  kept: string | undefined;
  /** The first rank has said that it is what was typed that is wrong. */
  invalidInput = false;
  #inNotice = false;
  readonly #notices: string[] = [];
  readonly #hosts = new RankHosts();

  /** Whether a rank has said that it failed. */
  get failed(): boolean {
    return this.#cause !== undefined;
  }

  /** Whether the line is the launcher's, or a consequence of the failure, so that it need not be shown. */
  takes(line: string): boolean {
    if (this.#hosts.takes(line)) return true;
    if (line === invalidInputLine) {
      this.invalidInput ||= this.#cause === undefined;
      return true;
    }
    const kept = /^hsap: interrupted: (.*)$/.exec(line);
    if (kept !== null) {
      this.kept ??= kept[1];
      return true;
    }
    if (line.startsWith("hsap: ")) {
      this.#cause ??= line.slice("hsap: ".length);
      return true;
    }
    if (/^-{60,}$/.test(line)) {
      this.#inNotice = !this.#inNotice;
      return true;
    }
    if (this.#inNotice || launcherLine.test(line)) {
      if (line.trim() !== "") this.#notices.push(line.trim());
      return true;
    }
    // What follows a failure is its noise.
    return this.#cause !== undefined;
  }

  /** The same for a line of standard output, where MPICH's launcher says that a rank has died. */
  takesFromOut(line: string): boolean {
    if (!mpichBanner.test(line)) return false;
    this.#notices.push(line.trim());
    return true;
  }

  /** The failure in one line. */
  cause(launcher: string, exitCode: number | null, killedBy: NodeJS.Signals | null): string {
    const dead = this.#deadRank();
    // Whoever waited for a rank that was killed may have been faster to say that it does not answer.
    const own =
      dead !== undefined && this.#cause !== undefined && consequence.test(this.#cause) ? undefined : this.#cause;
    const how = killedBy === null ? `exit code ${exitCode}` : `${killedBy}`;
    const cause = own ?? dead ?? this.#endedRank() ?? this.#firstNotice() ?? `${launcher} ended with ${how}`;
    return this.kept === undefined ? cause : `${cause}; ${this.kept}`;
  }

  /** A rank that was killed, in the words of Open MPI and Slurm. MPICH's name the wrong one; see `launchCommand`. */
  #deadRank(): string | undefined {
    const text = this.#notices.join(" ");
    const openMpi = /process rank (\d+) with PID \d+ on node (\S+) exited on signal (\d+)(?: \(([^)]*)\))?/.exec(text);
    if (openMpi !== null) return this.#killed(openMpi[1], openMpi[2], openMpi[3], openMpi[4]);
    const slurm = /error: (\S+): tasks? (\d+)[-\d,]*: (Killed|Segmentation fault|Terminated|Aborted|Bus error)/.exec(
      text,
    );
    if (slurm !== null) return `rank ${slurm[2]} on ${slurm[1]} was ended: ${slurm[3]}`;
    return undefined;
  }

  /** A rank that ended by itself or with its node. */
  #endedRank(): string | undefined {
    const text = this.#notices.join(" ");
    const openMpi = /Process name: \[\[\d+,\d+\],(\d+)\]\s+Exit code:\s+(\d+)/.exec(text);
    if (openMpi !== null) return `${this.#rank(openMpi[1])} ended with exit code ${openMpi[2]}`;
    const slurm = /error: (\S+): tasks? (\d+)[-\d,]*: Exited with exit code (\d+)/.exec(text);
    if (slurm !== null) return `rank ${slurm[2]} on ${slurm[1]} ended with exit code ${slurm[3]}`;
    const mpich = /(?:PID \d+ RUNNING AT (\S+)).*EXIT CODE: (\d+)/.exec(text);
    if (mpich !== null) return `a rank on ${mpich[1]} ended with exit code ${mpich[2]}`;
    const daemon =
      /lost communication with a remote daemon.*?Remote daemon\s*:.*?on node (\S+)/.exec(text) ??
      /lost (?:communication|connection) with (?:a remote daemon|.*?)[.:]?\s+.*?(?:on node|host:?)\s+(\S+)/i.exec(
        text,
      ) ??
      /Node failure on (\S+)/.exec(text);
    if (daemon !== null) return `${this.#hosts.ranksOn(daemon[1])} cannot be reached any more by the launcher`;
    return undefined;
  }

  #rank(number: string): string {
    const host = this.#hosts.hostOf(Number(number));
    return host === undefined ? `rank ${number}` : `rank ${number} on ${host}`;
  }

  #killed(rank: string, node: string, number: string, name: string | undefined): string {
    // Open MPI may know a node by its address, or the head by no name at all.
    const where = this.#hosts.hostOf(Number(rank)) ?? (node === "localhost" ? hostname() : node);
    return `rank ${rank} on ${where} was killed by signal ${number}${name === undefined ? "" : ` (${name})`}`;
  }

  #firstNotice(): string | undefined {
    // A notice's first sentence says what is wrong; further ones say what to read.
    const lines = this.#notices.filter((line) => !/^(Primary job|Per user-direction)/.test(line));
    const text = lines.join(" ").replace(/^(?:WARNING|ERROR): +/, "");
    const sentence = /^.*?[.:!](?=\s|$)/.exec(text)?.[0] ?? text;
    return sentence === "" ? undefined : sentence;
  }
}

/** How lines begin that Open MPI, Slurm, MPICH and UCX write, in this order. */
const launcherLine = new RegExp(
  `^(?:${[
    /\[[^\]]*:\d+\]|\[(?:warn|err)\] |mpirun(?:\.real)?: |mpirun noticed|\(null\): Forwarding signal|mpiexec|prterun|MPI_ABORT|with errorcode|Primary job/,
    /srun: |slurmstepd(?:-\S+)?: /,
    /\[(?:mpiexec|proxy)|Abort\(\d+\) |Killed$|Segmentation fault|===|=\s{2,}/,
    /\[\d+\.\d+\] \[\S+:\d+ *:\d+\]| *\d+ {1,2}\S+\([^)]*\) \[0x/,
  ]
    .map(({ source }) => source)
    .join("|")})`,
);

const mpichBanner =
  /^(={60,}$|= {3}[A-Z]|YOUR APPLICATION TERMINATED|This typically refers to|Please see the FAQ page)/;

/** What a rank says when another one does not answer. */
const consequence = /MPI_\w+ failed|was not heard of|MPI has not answered/;
