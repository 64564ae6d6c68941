import { describe, expect, test } from "vitest";
import { JobReport } from "../src/launch/job-report.ts";

const rule = "-".repeat(74);

/** The error of a job whose standard error had these lines. */
function causeOf(lines: readonly string[], exitCode = 1): string {
  const report = new JobReport();
  for (const line of lines) report.takes(line);
  return report.cause("mpirun", exitCode, null);
}

describe("a failed job's error", () => {
  test("is the first line of a rank, not what follows from it", () => {
    const lines = [
      "hsap: rank 2 on node1: out of memory",
      rule,
      "MPI_ABORT was invoked on rank 2 in communicator MPI_COMM_WORLD",
      rule,
      "hsap: rank 0 on node0: aborted",
    ];
    expect(causeOf(lines)).toBe("rank 2 on node1: out of memory");
  });

  test("is not what the launcher's event loop says of a rank's closed pipe", () => {
    const warning =
      "[warn] Epoll MOD(1) on fd 23 failed. Old events were 6; read change was 0 (none): Bad file descriptor";
    expect(new JobReport().takes(warning)).toBe(true);
    const dead = "mpirun noticed that process rank 3 with PID 0 on node node2 exited on signal 9 (Killed).";
    expect(causeOf([warning, rule, dead, rule])).toBe("rank 3 on node2 was killed by signal 9 (Killed)");
  });

  test("says what is kept, if the first rank could put its results in order", () => {
    const lines = [
      "hsap: rank 2 on node1: no",
      "hsap: interrupted: 3 of 9 trials are kept in results/x; the same command goes on from there",
    ];
    expect(causeOf(lines)).toBe(
      "rank 2 on node1: no; 3 of 9 trials are kept in results/x; the same command goes on from there",
    );
  });

  test.each([
    [
      "Open MPI",
      [rule, "mpirun noticed that process rank 3 with PID 0 on node node2 exited on signal 9 (Killed).", rule],
      "rank 3 on node2 was killed by signal 9 (Killed)",
    ],
    [
      "Open MPI, of a rank that ended by itself",
      [
        ...[rule, "mpirun detected that one or more processes exited with non-zero status, thus causing"],
        ...[
          "the job to be terminated. The first process to do so was:",
          "",
          "  Process name: [[4711,1],5]",
          "  Exit code:    7",
          rule,
        ],
      ],
      "rank 5 ended with exit code 7",
    ],
    [
      "Slurm",
      ["srun: error: node1: task 6: Killed", "srun: launch/slurm: _step_signal: Terminating StepId=3.0"],
      "rank 6 on node1 was ended: Killed",
    ],
    [
      "mpirun that cannot start",
      [
        rule,
        "There are not enough slots available in the system to satisfy the 8",
        "slots that were requested by the application:",
        "",
        "  node",
        "",
        "Either request fewer procs.",
        rule,
      ],
      "There are not enough slots available in the system to satisfy the 8 slots that were requested by the application:",
    ],
    [
      "an mpirun that lost a node",
      [
        rule,
        "ORTE has lost communication with a remote daemon.",
        "",
        "  HNP daemon   : [[20325,0],0] on node head",
        "  Remote daemon: [[20325,0],2] on node node1",
        "",
        "This is usually due to either a failure of the TCP network",
        rule,
      ],
      "node1 cannot be reached any more by the launcher",
    ],
    [
      "Slurm that lost a node",
      ["srun: error: Node failure on node1", "srun: error: Aborting, can't stop a step"],
      "node1 cannot be reached any more by the launcher",
    ],
    [
      "Slurm, of ranks that ended by themselves",
      ["srun: error: node0: tasks 1-3: Exited with exit code 7", "slurmstepd-node0: error: *** STEP 1.0 CANCELLED ***"],
      "rank 1 on node0 ended with exit code 7",
    ],
    ["a launcher that says nothing", [], "mpirun ended with exit code 1"],
  ])("is taken from the words of %s", (_, lines, cause) => {
    expect(causeOf(lines)).toBe(cause);
  });

  test("names rank and host where the launcher knows one of them, as the first rank has said which are where", () => {
    const places = ["hsap: ranks 0,1,2,3 are on node0", "hsap: ranks 4,5,6,7 are on node1"];
    const exited = ["  Process name: [[4711,1],5]", "  Exit code:    7"];
    expect(causeOf([...places, rule, ...exited, rule])).toBe("rank 5 on node1 ended with exit code 7");
    const killed = "mpirun noticed that process rank 3 with PID 0 on node 10.0.0.1 exited on signal 9 (Killed).";
    expect(causeOf([...places, rule, killed, rule])).toBe("rank 3 on node0 was killed by signal 9 (Killed)");
    const lost = ["ORTE has lost communication with a remote daemon.", "  Remote daemon: [[20325,0],2] on node node1"];
    expect(causeOf([...places, rule, ...lost, rule])).toBe(
      "ranks 4 to 7 on node1 cannot be reached any more by the launcher",
    );
  });

  test("is told from invalid input, unless a rank had failed before", () => {
    const [invalid, reason, failed] = ["hsap: the input is not valid", "hsap: results in use", "hsap: rank 1 on a: no"];
    for (const [lines, expected] of [
      [[invalid, reason], true],
      [[reason], false],
      [[failed, invalid, reason], false],
    ] as const) {
      const report = new JobReport();
      for (const line of lines) expect(report.takes(line)).toBe(true);
      expect(report.invalidInput).toBe(expected);
    }
  });

  test("is the rank that was killed, even if another one was faster to say that it does not answer", () => {
    const killed = "mpirun noticed that process rank 3 with PID 0 on node node0 exited on signal 9 (Killed).";
    for (const other of [
      "rank 4 on node1: MPI_Testsome failed: MPI_ERR_OTHER",
      "rank 3 on node0 was not heard of for 4 s",
    ]) {
      expect(causeOf([`hsap: ${other}`, rule, killed, rule])).toBe("rank 3 on node0 was killed by signal 9 (Killed)");
    }
    expect(causeOf(["hsap: rank 4 on node1: out of memory", rule, killed, rule])).toBe(
      "rank 4 on node1: out of memory",
    );
  });

  test("takes what MPICH's launcher says on standard output, and nothing else there", () => {
    const report = new JobReport();
    const lines = ["=".repeat(83), "=   PID 1 RUNNING AT node1", "=   EXIT CODE: 9", "# 4 trials", "= 4"];
    expect(lines.map((line) => report.takesFromOut(line))).toEqual([true, true, true, false, false]);
    expect(report.cause("mpirun", 9, null)).toBe("a rank on node1 ended with exit code 9");
  });

  test("is not the backtrace that UCX writes under MPICH when a peer is gone", () => {
    const report = new JobReport();
    const lines = [
      "[1763900000.123456] [node0:5552 :0]        cma_ep.c:103  Fatal: process_vm_readv(pid=5554) returned -1",
      "==== backtrace (tid:   5559) ====",
      " 0  /usr/lib/x86_64-linux-gnu/libucs.so.0(ucs_handle_error+0x2dc) [0x7f417c094e9c]",
      "10  /usr/lib/x86_64-linux-gnu/libucp.so.0(ucp_worker_progress+0x72) [0x7f417c112ef2]",
    ];
    expect(lines.map((line) => report.takes(line))).toEqual(lines.map(() => true));
  });

  test("leaves what ranks write to be shown", () => {
    const report = new JobReport();
    expect(
      ["  10 % | 0:28 left", "note: ranks share a node", rule, "words of mpirun", rule].map((line) =>
        report.takes(line),
      ),
    ).toEqual([...[false, false, true, true, true]]);
  });
});
