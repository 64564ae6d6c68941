import { spawnSync } from "node:child_process";
import { hostname } from "node:os";
import { clusterOf } from "@hsap/cluster";
import type { Problem } from "@hsap/schedule";
import { packedBatch } from "@hsap/workload";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { requestOfText, textOfRequest } from "../src/launch/compile-request.ts";
import { commandText, type Launch, launchCommand, splitArguments } from "../src/launch/launch-command.ts";
import { mpiOptionsOf } from "../src/launch/mpi-options.ts";
import { sbatchScript } from "../src/launch/sbatch-script.ts";

const openMpi = { mpirun: "Open MPI", root: false, variables: [] } as const;
const keepAlive =
  "--mca oob_tcp_keepalive_time 5 --mca oob_tcp_keepalive_intvl 2 --mca oob_tcp_keepalive_probes 8 --mca odls_base_sigkill_timeout 3";

describe("the command that starts ranks", () => {
  test.each<[string, Launch, string]>([
    [
      "mpirun on this machine",
      { launcher: "mpirun", ranks: 4 },
      `mpirun --oversubscribe --bind-to none ${keepAlive} -n 4 prog`,
    ],
    [
      "mpirun in an allocation",
      { launcher: "mpirun", ranks: 8, nodes: 2 },
      `mpirun --oversubscribe --bind-to none ${keepAlive} --map-by ppr:4:node -n 8 prog`,
    ],
    [
      "mpirun on named hosts, with further arguments and a wrapper",
      {
        launcher: "mpirun",
        ranks: 8,
        nodes: 2,
        hosts: ["a", "b"],
        args: ["--mca", "btl", "tcp,self"],
        wrapper: ["in-cgroup"],
      },
      `mpirun --oversubscribe --bind-to none ${keepAlive} --host a:4,b:4 --mca btl tcp,self -n 8 in-cgroup prog`,
    ],
    [
      "srun",
      { launcher: "srun", ranks: 8, nodes: 2 },
      "srun --mpi=pmix --kill-on-bad-exit=1 --overcommit --nodes=2 --ntasks-per-node=4 --ntasks=8 --distribution=block prog",
    ],
    [
      "srun that is told another MPI",
      { launcher: "srun", ranks: 2, args: ["--mpi=pmi2"] },
      "srun --kill-on-bad-exit=1 --overcommit --ntasks=2 --distribution=block --mpi=pmi2 prog",
    ],
  ])("is right for %s", (_, launch, command) => {
    expect(launchCommand(launch, ["prog"], openMpi).join(" ")).toBe(command);
  });

  test("tells Open MPI that root may start it, and passes variables on", () => {
    const command = launchCommand({ launcher: "mpirun", ranks: 2 }, ["prog"], {
      ...openMpi,
      root: true,
      variables: ["HSAP_DEBUG"],
    });
    expect(command.slice(0, 2)).toEqual(["mpirun", "--allow-run-as-root"]);
    expect(command.slice(-5)).toEqual(["-n", "2", "-x", "HSAP_DEBUG", "prog"]);
  });

  const mpich = { mpirun: "MPICH", root: true, variables: ["HSAP_DEBUG"] } as const;

  test("knows MPICH's options", () => {
    const command = launchCommand({ launcher: "mpirun", ranks: 8, hosts: ["a", "b"] }, ["prog"], mpich);
    expect(command.join(" ")).toMatch(/^mpirun -hosts a,b -ppn 4 -genvall -n 8 sh -c .* rank prog$/);
  });

  test.each([
    ["kill -9 $$", 137, "hsap: rank 5 on HOST was killed by signal 9\n"],
    ["kill -11 $$", 139, "hsap: rank 5 on HOST was killed by signal 11\n"],
    // What ends because it was asked to is no failure.
    ["kill -15 $$", 143, ""],
    ["exit 130", 130, ""],
    ["exit 1", 1, ""],
    ["exit 0", 0, ""],
  ])(
    "has a rank under MPICH, which cannot tell which one has died, named when it was killed: %s",
    (way, code, line) => {
      const command = launchCommand({ launcher: "mpirun", ranks: 8 }, ["sh", "-c", way], mpich);
      const [program, ...args] = command.slice(command.indexOf("sh"));
      const { status, stderr } = spawnSync(program, args, { encoding: "utf8", env: { ...process.env, PMI_RANK: "5" } });
      // A shell says by itself, too, what its child died of.
      const own = stderr.split(/(?<=\n)/).filter((text) => text.startsWith("hsap: "));
      expect([status, own.join("")]).toEqual([code, line.replace("HOST", hostname())]);
    },
  );

  test.each<[Launch, string]>([
    [{ launcher: "mpirun", ranks: 8, nodes: 3 }, "invalid nodes: 3 (must divide 8 ranks)"],
    [{ launcher: "srun", ranks: 8, nodes: 2, hosts: ["a"] }, "invalid hosts: a (must be 2, one for each node)"],
    [{ launcher: "mpirun", ranks: 8, hosts: ["a", "b", "c"] }, "invalid hosts: a,b,c (must divide 8 ranks)"],
  ])("is refused in one line: %j", (launch, message) => {
    expect(() => launchCommand(launch, ["prog"], openMpi)).toThrow(message);
  });
});

describe("arguments in one text", () => {
  test("are split as a shell would", () => {
    expect(splitArguments(`--mca btl  tcp,self "a b" 'c "d"' e\\ f ""`)).toEqual([
      ...["--mca", "btl", "tcp,self", "a b", 'c "d"', "e f", ""],
    ]);
    expect(splitArguments("  ")).toEqual([]);
    expect(() => splitArguments("--x 'a")).toThrow("invalid arguments: --x 'a (a ' is not closed)");
  });

  test("come back from the text that a person would type", () => {
    const word = fc.string({ unit: fc.constantFrom(..."ab \"'\\$`*-=") });
    fc.assert(
      fc.property(fc.array(word, { minLength: 1, maxLength: 4 }), (words) => {
        const { stdout } = spawnSync("sh", ["-c", `printf '%s\\n' ${commandText(words)}`], { encoding: "utf8" });
        expect(stdout).toBe(words.map((each) => `${each}\n`).join(""));
      }),
      { numRuns: 25 },
    );
  });
});

describe("a batch script", () => {
  test("asks for nodes and a warning, and starts the command beside itself, so that the warning reaches it", () => {
    const script = sbatchScript({
      ...{ name: "hsap-evaluation", nodes: 2, ranksPerNode: 4, timeLimit: "30", partition: "gpu" },
      ...{ directives: ["--account=a"], folder: "/home/a b", commands: [["hsap", "experiment", "x y"]] },
    });
    expect(script.split("\n").filter((line) => line.startsWith("#SBATCH"))).toEqual([
      ...["#SBATCH --job-name=hsap-evaluation", "#SBATCH --nodes=2", "#SBATCH --ntasks-per-node=4"],
      ...["#SBATCH --partition=gpu", "#SBATCH --time=30", "#SBATCH --signal=B:TERM@60", "#SBATCH --account=a"],
    ]);
    expect(script).toContain("cd '/home/a b'\n");
    expect(script).toContain("run hsap experiment 'x y' || exit\n");
  });

  test("passes the warning on, waits for the command's own end, and ends with its exit code", () => {
    const work = `trap 'sleep 0.2; echo in order; exit 130' TERM; sleep 0.2; kill -TERM $PPID; for i in 1 2 3 4 5 6 7 8 9; do sleep 0.1; done`;
    const script = sbatchScript({
      ...{ name: "x", nodes: 1, ranksPerNode: 1, folder: "/" },
      commands: [
        ["sh", "-c", work],
        ["echo", "never"],
      ],
    });
    const { stdout, status } = spawnSync("bash", ["-c", script], { encoding: "utf8" });
    expect([stdout, status]).toEqual(["in order\n", 130]);
  });
});

describe("what a schedule is compiled from", () => {
  test("comes through text with its typed arrays", () => {
    const problem: Problem = {
      batch: packedBatch([5, 3]),
      shape: { heads: 4, kvHeads: 2, headDim: 64, dtype: "bf16" },
      cluster: clusterOf({ ranks: 4, ranksPerNode: 2 }),
      mask: "causal",
      pass: "backward",
    };
    const request = { strategy: "hsap", problem, degrees: { ulysses: 2, sap: 2 }, options: { shard: "balanced" } };
    expect(requestOfText(textOfRequest(request))).toEqual(request);
  });
});

describe("variables of the mpi transport", () => {
  test("change timeout, pace and collectives", () => {
    expect(mpiOptionsOf({})).toEqual({ collectives: true });
    expect(mpiOptionsOf({ HSAP_MPI_TIMEOUT_S: "5", HSAP_MPI_POLL_US: "0", HSAP_MPI_COLLECTIVES: "off" })).toEqual({
      ...{ timeoutS: 5, pollUs: 0, collectives: false },
    });
  });

  test.each([
    [{ HSAP_MPI_TIMEOUT_S: "0" }, 'invalid HSAP_MPI_TIMEOUT_S: "0" (must be a number of at least 1)'],
    [{ HSAP_MPI_POLL_US: "" }, 'invalid HSAP_MPI_POLL_US: "" (must be a number of at least 0)'],
    [{ HSAP_MPI_COLLECTIVES: "no" }, 'invalid HSAP_MPI_COLLECTIVES: "no" (must be on or off)'],
  ])("are refused in one line: %j", (variables, message) => {
    expect(() => mpiOptionsOf(variables)).toThrow(message);
  });
});
