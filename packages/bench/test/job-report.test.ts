import { describe, expect, test } from "vitest";
import { JobReport } from "../src/launch/launched-job.ts";

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
      "the launcher lost its daemon on node1",
    ],
    ["a launcher that says nothing", [], "mpirun ended with exit code 1"],
  ])("is taken from the words of %s", (_, lines, cause) => {
    expect(causeOf(lines)).toBe(cause);
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
