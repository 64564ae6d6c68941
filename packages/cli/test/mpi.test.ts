import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { readEnvironments, readTrials, strategies, whyNoMpi } from "@hsap/bench";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { hsap } from "./captured-run.ts";

const bin = fileURLToPath(new URL("../bin/hsap.js", import.meta.url));

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "hsap-mpi-"));
});
afterEach(() => rmSync(folder, { recursive: true }));

describe("an experiment on ranks that mpirun starts", { timeout: 180_000 }, () => {
  test("writes trials with the digests of one on threads, and where its ranks ran", ({ skip }) => {
    const reason = whyNoMpi();
    if (reason !== undefined) return skip(reason);
    const measured = (launcher: string) => {
      const results = join(folder, launcher);
      const problem = "--docs 40,7,1,33 --ranks 4 --ranks-per-node 2 --strategy ring --repeats 2";
      const line = `experiment --profile smoke ${problem} --no-figures --json --launcher ${launcher} --results ${results}`;
      const { status, stdout, stderr } = spawnSync(process.execPath, [bin, ...line.split(" ")], { encoding: "utf8" });
      expect([status, stderr]).toEqual([0, expect.not.stringContaining("hsap:")]);
      expect(JSON.parse(stdout)).toMatchObject({ trials: 4, measuredNow: 4 });
      return results;
    };
    const [threads, processes] = [measured("local"), measured("mpirun")];
    const digests = (results: string) =>
      new Map(readTrials(join(results, "trials.jsonl")).trials.map(({ key, digest }) => [key, digest]));
    expect(digests(processes)).toEqual(digests(threads));
    const [{ job, mpi }] = readEnvironments(join(processes, "environment.json"));
    expect(mpi?.hosts).toBe(1);
    expect(job?.ranks.map(({ rank }) => rank)).toEqual([0, 1, 2, 3]);
    expect(readEnvironments(join(threads, "environment.json"))[0].mpi).toBeUndefined();
  });
});

describe("other commands on ranks that mpirun starts", { timeout: 180_000 }, () => {
  const run = (line: string) => spawnSync(process.execPath, [bin, ...line.split(" ")], { encoding: "utf8" });

  test("verify the suite of so many ranks, with the bits of threads", ({ skip }) => {
    const reason = whyNoMpi();
    if (reason !== undefined) return skip(reason);
    const { status, stdout } = run("verify --quick --launcher mpirun --ranks 4 --json");
    expect(status).toBe(0);
    const { rows, runs, wrong } = JSON.parse(stdout);
    expect(wrong).toBe(0);
    expect(runs).toBeGreaterThan(60);
    const names = new Set(rows.map(({ strategy }: { strategy: string }) => strategy));
    for (const { name } of strategies) if (name !== "reference") expect(names).toContain(name);
    expect(new Set(rows.map(({ ranks }: { ranks: number }) => ranks))).toEqual(new Set([4]));
  });

  test("compare what strategies take, and end with 1 where one is wrong", ({ skip }) => {
    const reason = whyNoMpi();
    if (reason !== undefined) return skip(reason);
    const line = "compare --measure --docs 60,7,1,33 --repeats 2 --launcher mpirun --ranks 2 --ranks-per-node 1 --json";
    const right = run(`${line} --pass backward --strategy zigzag`);
    expect([right.status, right.stderr]).toEqual([0, expect.not.stringContaining("hsap:")]);
    expect(JSON.parse(right.stdout).strategies[0]).toMatchObject({ strategy: "zigzag", verdict: "ok" });
    const wrong = run(`${line} --strategy ring --faithful`);
    expect(wrong.status).toBe(1);
    expect(wrong.stderr).toMatch(/^hsap: 1 of 1 strategies are wrong \(ring/m);
  });
});

describe("how ranks are started", () => {
  test("is shown and not done with --dry-run", async () => {
    const { exitCode, out } = await hsap(
      "experiment --launcher srun --nodes 2 --ranks-per-node 4 --launcher-args --mpi=pmi2 --strategy ring --dry-run",
    );
    expect(exitCode).toBe(0);
    expect(out).toMatch(/^srun --kill-on-bad-exit=1 --overcommit --nodes=2 --ntasks-per-node=4 --ntasks=8 /);
    expect(out).toMatch(/ experiment --strategy ring --ranks 8 --ranks-per-node 4 --results \S+ --launcher started\n$/);
  });

  test.each([
    ["--nodes 2", "missing launcher: --nodes needs --launcher mpirun or srun"],
    ["--dry-run", "missing launcher: --dry-run needs --launcher mpirun or srun"],
    ["--launcher ssh", "unknown launcher: ssh (must be local or mpirun or srun or started)"],
    [
      "--launcher srun --nodes 2 --ranks-per-node 4 --ranks 6",
      "conflicting options: --ranks 6 and --nodes 2 of 4 ranks",
    ],
    ["--launcher started", "invalid launcher: started (this process was started by no mpirun, srun or torchrun)"],
  ])("is refused in one line: %s", async (options, message) => {
    const { exitCode, err } = await hsap(`experiment --profile smoke --results ${folder} ${options}`);
    expect([exitCode, err]).toEqual([2, `hsap: ${message}\n`]);
  });
});

describe("other commands over a launcher", () => {
  test.each([
    [
      "verify --launcher mpirun --schedule x",
      "conflicting options: --launcher and --schedule (a stored schedule is run on threads)",
    ],
    ["verify --nodes 2", "missing launcher: --nodes needs --launcher mpirun or srun"],
    ["compare --docs 7 --launcher mpirun", "missing option: --launcher needs --measure (nothing else runs)"],
    ["compare --packs --launcher mpirun", "conflicting options: --packs and --launcher (it runs nothing)"],
  ])("are refused in one line: %s", async (line, message) => {
    const { exitCode, err } = await hsap(line);
    expect([exitCode, err]).toEqual([2, `hsap: ${message}\n`]);
  });

  test("are shown and not started with --dry-run", async () => {
    const { exitCode, out } = await hsap("verify --quick --launcher srun --nodes 2 --ranks-per-node 3 --dry-run");
    expect(exitCode).toBe(0);
    expect(out).toMatch(/^srun .* verify --quick --ranks 6 --ranks-per-node 3 --launcher started\n$/);
  });
});

describe("a batch job", () => {
  const line = "job --slurm --nodes 2 --ranks-per-node 4 --time 30 --sbatch=--account=a";

  test("is a script that runs the experiment on its nodes, made executable", async () => {
    const file = join(folder, "job.sh");
    const { exitCode, out } = await hsap(`${line} --out ${file} -- experiment evaluation --profile smoke`);
    expect([exitCode, out]).toEqual([0, `sbatch ${file}\n`]);
    const script = readFileSync(file, "utf8");
    expect(script).toContain("#SBATCH --job-name=hsap-evaluation\n#SBATCH --nodes=2\n#SBATCH --ntasks-per-node=4\n");
    expect(script).toContain("#SBATCH --account=a\n");
    expect(script).toMatch(
      /\nrun \S+ \S+ experiment evaluation --profile smoke --launcher srun --nodes 2 --ranks-per-node 4 \|\| exit\n$/,
    );
    expect(statSync(file).mode & 0o111).toBe(0o111);
  });

  test("is printed with every command that it leads to, and not written, with --dry-run", async () => {
    const { exitCode, out } = await hsap(`${line} --out ${folder}/none/job.sh --dry-run -- experiment`);
    expect(exitCode).toBe(0);
    expect(out).toContain("#SBATCH --time=30\n");
    expect(out).toContain(`\nsbatch ${folder}/none/job.sh\n`);
    expect(out).toMatch(/\nsrun --mpi=pmix .* experiment --ranks 8 --ranks-per-node 4 --launcher started\n$/);
  });

  test.each([
    ["job -- experiment", "missing option: --slurm (it is the only batch system known)"],
    ["job --slurm -- verify", "invalid command: verify (a job runs an experiment: -- experiment evaluation)"],
    ["job --slurm --nodes 0 -- experiment", "invalid nodes: 0 (must be a whole number of at least 1)"],
  ])("is refused in one line: %s", async (text, message) => {
    const { exitCode, err } = await hsap(text);
    expect([exitCode, err]).toEqual([2, `hsap: ${message}\n`]);
  });
});
